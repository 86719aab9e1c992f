"""The gate's checks 4 to 9: each refuses by itself, in the order that the contract gives them."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.gate import SERVICE_CODES, WEB_CODES, Door, Gate, PayloadRule, Signed
from security.refusals import Refused, rule
from security.signatures import MessageKey
from security.strictjson import Bounds

NOW = 1_800_000_000_000
DRIFT = 15_000
GRACE = 5_000
NONCE = "n" * 22
WHERE = {"namespace": "/", "principal": "user:1", "sid": "s" * 20}
KEY = MessageKey(b"k" * 32, direction="c2s", **WHERE)
RULES = {
    "click": PayloadRule(max_bytes=64),
    "tree": PayloadRule(max_bytes=4_096, bounds=Bounds(depth=2, nodes=4, string=8)),
}
DOOR = Door(scope="user", drift_ms=DRIFT, nonce_grace_ms=GRACE, rules=RULES)
ENGINE_DOOR = Door(
    scope="engine", drift_ms=30_000, nonce_grace_ms=GRACE, rules=RULES, codes=SERVICE_CODES
)


class Nonces:
    """A store that records what it is asked, and answers what it is told."""

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> Any:
        self.asked.append((scope, principal, nonce, expires_at_ms, now_ms))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def gate(nonces: Nonces | None = None, door: Door = DOOR) -> Gate:
    return Gate(door, nonces or Nonces())


def envelope(**changes: Any) -> dict[str, Any]:
    """A genuine message, signed after the changes unless they name the signature."""
    message = {"type": "click", "payload": "{}", "ts": NOW, "nonce": NONCE, **changes}
    if "sig" not in changes:
        signable = {key: message[key] for key in ("type", "ts", "nonce", "payload")}
        message["sig"] = KEY.sign(**signable)
    return message


def refusal(message: object, *, now_ms: int = NOW, door: Door = DOOR, event: str = "") -> Refused:
    with pytest.raises(Refused) as caught:
        gate(door=door).verify(message, key=KEY, now_ms=now_ms, event=event)
    return caught.value


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in envelope().items() if key not in keys}


SIG = envelope()["sig"]


def test_a_genuine_message_is_returned_as_it_was_signed() -> None:
    assert gate().verify(envelope(), key=KEY, now_ms=NOW) == Signed("click", "{}", NOW, NONCE)


@pytest.mark.parametrize("message", [None, [], "text", 1, True, b"{}", (), 1.5])
def test_what_is_no_object_is_malformed(message: object) -> None:
    assert (refusal(message).code, refusal(message).reason) == ("malformed", "not_an_object")


class Lookalike(dict):  # type: ignore[type-arg]  # its items do not matter
    """A dict by inheritance only."""


def test_a_subclass_of_dict_is_no_object() -> None:
    assert refusal(Lookalike(envelope())).reason == "not_an_object"


@pytest.mark.parametrize("missing", ["type", "payload", "ts", "nonce", "sig"])
def test_every_key_is_required(missing: str) -> None:
    assert refusal(without(missing)).reason == "keys"


@pytest.mark.parametrize("extra", ["role", "user_id", "simulated", "Type", ""])
def test_no_key_may_be_added(extra: str) -> None:
    assert refusal({**envelope(), extra: 1}).reason == "keys"


def test_the_record_names_a_few_of_a_hundred_thousand_keys() -> None:
    seen = refusal({f"key{number}": 1 for number in range(100_000)}).detail["seen"]
    assert len(seen) == 8  # type: ignore[arg-type]  # a list


FIELDS: dict[str, list[object]] = {
    "type": [
        None, 1, True, [], {}, b"click", "", "Click", "click ", "click\n", "cl\u0456ck", "1click",
        "_click", "click\x00", "c" * 65, "cl-ick", "\uff43lick",
    ],
    "nonce": [
        None, 1, b"n" * 22, [], "", "n" * 21, "n" * 65, "n" * 22 + "\n", "n" * 21 + "|",
        "n" * 21 + "\x00", "n" * 21 + "=", "n" * 21 + "+", "\u00e9" * 22, "\uff4e" * 22,
    ],
    "sig": [
        None, 1, b"0" * 64, [], "", SIG[:-1], SIG + "0", SIG.upper(), SIG + "\n", "g" * 64,
        "\uff10" * 64, f"0x{SIG[2:]}", f" {SIG[1:]}",
    ],
    "payload": [None, 1, True, {}, [], b"{}", 1.5],
    "ts": [
        None, True, False, "1", str(NOW), float(NOW), -1, 2**53, 2**63, [], float("nan"),
        float("inf"), -0.0,
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in FIELDS.items() for value in values]
)
def test_a_field_of_the_wrong_form_is_malformed(field: str, value: object) -> None:
    refused = refusal({**envelope(), field: value})
    assert (refused.code, refused.reason) == ("malformed", field)


@pytest.mark.parametrize("nonce", ["n" * 22, "n" * 64, "A-_z09" * 4])
def test_nonces_from_22_to_64_characters_pass(nonce: str) -> None:
    assert gate().verify(envelope(nonce=nonce), key=KEY, now_ms=NOW).nonce == nonce


def test_a_type_of_64_characters_may_be_known() -> None:
    assert refusal(envelope(type="c" * 64)).code == "unknown_type"


@pytest.mark.parametrize("ts", [0, 2**53 - 1])
def test_a_timestamp_at_the_ends_of_the_safe_integers_is_only_out_of_the_window(ts: int) -> None:
    assert refusal(envelope(ts=ts)).code == "timestamp_expired"


def test_a_type_that_nobody_registered_is_unknown() -> None:
    assert refusal(envelope(type="fly")).code == "unknown_type"


@pytest.mark.parametrize(("length", "fits"), [(64, True), (65, False)])
@pytest.mark.parametrize("fill", ["x", "\u00e9"])
def test_payloads_are_measured_in_bytes(length: int, fits: bool, fill: str) -> None:
    width = len(fill.encode())
    payload = fill * ((length - 2) // width) + "x" * ((length - 2) % width)
    message = envelope(payload=f'"{payload}"')
    assert len(message["payload"].encode()) == length
    if fits:
        gate().verify(message, key=KEY, now_ms=NOW)
    else:
        assert refusal(message).code == "payload_too_large"


@pytest.mark.parametrize("kind", ["click", "fly"])
def test_a_payload_with_half_a_surrogate_pair_is_refused_and_crashes_nothing(kind: str) -> None:
    assert refusal({**envelope(), "type": kind, "payload": "\ud800"}).code in {
        "malformed",
        "unknown_type",
    }


@pytest.mark.parametrize("offset", [-DRIFT, -1, 0, 1, DRIFT])
def test_the_window_includes_its_edges(offset: int) -> None:
    assert gate().verify(envelope(), key=KEY, now_ms=NOW + offset)


@pytest.mark.parametrize("offset", [-DRIFT - 1, DRIFT + 1, -(10**12), 10**12])
def test_outside_the_window_everything_is_refused(offset: int) -> None:
    assert refusal(envelope(), now_ms=NOW + offset).code == "timestamp_expired"


@pytest.mark.parametrize("offset", [-30_000, 30_000])
def test_the_window_of_engines_is_wider(offset: int) -> None:
    message = without("type")
    assert gate(door=ENGINE_DOOR).verify(message, key=KEY, now_ms=NOW + offset, event="click")
    late = refusal(message, now_ms=NOW + offset + offset // 30_000, door=ENGINE_DOOR, event="click")
    assert late.code == "ENGINE_TIMESTAMP_EXPIRED"


def test_seconds_are_no_milliseconds() -> None:
    assert refusal(envelope(ts=NOW // 1000)).code == "timestamp_expired"


@pytest.mark.parametrize("bit", range(256))
def test_each_bit_of_the_signature_counts(bit: int) -> None:
    flipped = f"{int(SIG, 16) ^ (1 << bit):064x}"
    assert refusal(envelope(sig=flipped)).code == "invalid_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"payload": "{} "},
        {"payload": "{}\n"},
        {"type": "tree"},
        {"ts": NOW + 1},
        {"nonce": "m" + NONCE[1:]},
        {"nonce": NONCE + "1"},
    ],
)
def test_no_field_may_change_after_the_signing(change: dict[str, Any]) -> None:
    assert refusal({**envelope(), **change}).code == "invalid_signature"


@pytest.mark.parametrize(
    "other",
    [
        {"namespace": "/engine"},
        {"principal": "user:2"},
        {"principal": "engine:1"},
        {"sid": "t" * 20},
    ],
)
def test_a_message_verifies_in_one_place_only(other: dict[str, str]) -> None:
    elsewhere = MessageKey(b"k" * 32, direction="c2s", **{**WHERE, **other})
    with pytest.raises(Refused, match="invalid_signature"):
        gate().verify(envelope(), key=elsewhere, now_ms=NOW)


def test_a_message_of_the_other_direction_does_not_verify() -> None:
    with pytest.raises(Refused, match="invalid_signature"):
        gate().verify(envelope(), key=MessageKey(b"k" * 32, direction="s2c", **WHERE), now_ms=NOW)


# What is wrong in several ways is refused for the first: each message below adds a fault in front.
FAULTS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("invalid_signature", lambda message: {**message, "sig": "0" * 64}),
    ("timestamp_expired", lambda message: {**message, "ts": 0}),
    ("payload_too_large", lambda message: {**message, "payload": "x" * 65}),
    ("unknown_type", lambda message: {**message, "type": "fly"}),
    ("malformed", lambda message: {**message, "nonce": "short"}),
    ("malformed", lambda message: {**message, "extra": 1}),
    ("malformed", lambda message: [message]),
]


def test_the_cheapest_check_comes_first() -> None:
    message: Any = envelope()
    for code, spoil in FAULTS:
        message = spoil(message)
        assert refusal(message).code == code


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_whatever_is_sent_is_refused_and_never_raises_anything_else(message: object) -> None:
    assert refusal(message).code == "malformed"


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(st.fixed_dictionaries(dict.fromkeys(envelope(), JUNK)))
def test_an_envelope_of_junk_is_refused_and_nothing_is_consumed(message: dict[str, Any]) -> None:
    assert refusal(message).code in {"malformed", "unknown_type"}


# -- nonces


def test_verifying_consumes_nothing() -> None:
    nonces = Nonces()
    gate(nonces).verify(envelope(), key=KEY, now_ms=NOW)
    assert nonces.asked == []


def test_a_nonce_is_kept_until_its_message_can_pass_no_window() -> None:
    nonces = Nonces()
    signed = gate(nonces).verify(envelope(ts=NOW - 7), key=KEY, now_ms=NOW)
    assert gate(nonces).consume(signed, principal="user:1", now_ms=NOW) is None
    assert nonces.asked == [("user", "user:1", NONCE, NOW - 7 + DRIFT + GRACE, NOW)]


SIGNED = Signed("click", "{}", NOW, NONCE)


@pytest.mark.parametrize(
    ("answer", "code"), [(False, "replay_detected"), (OverflowError(), "try_again")]
)
def test_a_used_nonce_and_a_full_store_refuse(answer: object, code: str) -> None:
    with pytest.raises(Refused) as caught:
        gate(Nonces(answer)).consume(SIGNED, principal="user:1", now_ms=NOW)
    assert (caught.value.code, caught.value.event_type) == (code, "click")


@pytest.mark.parametrize(
    ("answer", "code"),
    [(True, ""), (False, "replay_detected"), (OverflowError(), "try_again")],
)
def test_a_store_that_answers_later_decides_the_same(answer: object, code: str) -> None:
    async def later() -> bool:
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    async def consume() -> str:
        waiting = gate(Nonces(later())).consume(SIGNED, principal="user:1", now_ms=NOW)
        assert waiting is not None
        try:
            await waiting
        except Refused as refused:
            return refused.code
        return ""

    assert asyncio.run(consume()) == code


# -- payloads


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ('{"a":1,"a":2}', "payload_invalid"),
        ("NaN", "payload_invalid"),
        ("{} {}", "payload_invalid"),
        ("\ufeff{}", "payload_invalid"),
        ("", "payload_invalid"),
        ("[[[]]]", "payload_too_complex"),
        ("[1,2,3,4,5]", "payload_too_complex"),
        ('"123456789"', "payload_too_complex"),
    ],
)
def test_payloads_are_strict_json_within_the_bounds_of_their_type(payload: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        gate().read(Signed("tree", payload, NOW, NONCE))
    assert caught.value.code == code
    assert caught.value.payload_sha256 == hashlib.sha256(payload.encode()).hexdigest()


def test_a_payload_within_its_bounds_is_read() -> None:
    assert gate().read(Signed("tree", '{"a":[1,2]}', NOW, NONCE)) == {"a": [1, 2]}


# -- what staff learn


@pytest.mark.parametrize(
    "message",
    [
        envelope(type="fly"),
        envelope(payload="x" * 65),
        envelope(ts=0),
        envelope(sig="0" * 64),
    ],
)
def test_once_an_envelope_could_be_read_its_refusal_names_type_and_digest(
    message: dict[str, Any],
) -> None:
    refused = refusal(message)
    assert refused.event_type == message["type"]
    assert refused.payload_sha256 == hashlib.sha256(message["payload"].encode()).hexdigest()


def test_an_envelope_that_could_not_be_read_is_about_nothing() -> None:
    refused = refusal(without("sig"))
    assert (refused.event_type, refused.payload_sha256) == ("", "")


def test_a_refusal_keeps_the_first_message_it_was_about() -> None:
    refused = Signed("tree", "1", NOW, NONCE).blame(SIGNED.blame(Refused("forbidden")))
    assert refused.event_type == "click"


@pytest.mark.parametrize("message", [envelope(sig="0" * 64), envelope(payload='"secret-words"')])
def test_a_refusal_never_holds_payload_signature_or_nonce(message: dict[str, Any]) -> None:
    text = str(refusal(message, now_ms=0).detail)
    assert not any(str(message[key]) in text for key in ("payload", "sig", "nonce"))


@pytest.mark.parametrize("codes", [WEB_CODES, SERVICE_CODES])
def test_every_step_has_a_declared_code(codes: dict[Any, str]) -> None:
    assert all(rule(code) for code in codes.values())
    assert codes.keys() == WEB_CODES.keys()


def test_an_engine_names_the_type_by_the_event() -> None:
    message = without("type")
    signed = gate(door=ENGINE_DOOR).verify(message, key=KEY, now_ms=NOW, event="click")
    assert signed.type == "click"
    assert refusal(message, door=ENGINE_DOOR, event="tree").code == "ENGINE_SIGNATURE_INVALID"
    assert refusal(envelope(), door=ENGINE_DOOR, event="click").code == "ENGINE_PACKET_INCOMPLETE"
    assert refusal(message, door=ENGINE_DOOR, event="fly").code == "ENGINE_PACKET_INCOMPLETE"
