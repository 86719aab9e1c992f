"""What the gate reads has exactly one form, and its cheapest check comes first."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.gate import Signed
from tests.security.gate.gate_bench import (
    ENGINE_DOOR,
    KEY,
    NONCE,
    NOW,
    SIG,
    envelope,
    gate,
    refusal,
    without,
)


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


def test_an_engine_names_the_type_by_the_event() -> None:
    message = without("type")
    signed = gate(door=ENGINE_DOOR).verify(message, key=KEY, now_ms=NOW, event="click")
    assert signed.type == "click"
    assert refusal(message, door=ENGINE_DOOR, event="tree").code == "ENGINE_SIGNATURE_INVALID"
    assert refusal(envelope(), door=ENGINE_DOOR, event="click").code == "ENGINE_PACKET_INCOMPLETE"
    assert refusal(message, door=ENGINE_DOOR, event="fly").code == "ENGINE_PACKET_INCOMPLETE"
