"""What is sealed with one key opens with it, once, in time, and in no other way."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.envelopes import BadMessage, Envelope, Opener, Sealer, fresh_nonce
from security.signatures import MessageKey

NOW = 1_795_000_000_000


def key(raw: bytes = b"k" * 32) -> MessageKey:
    return MessageKey(
        raw, direction="s2c", namespace="/engine", principal="engine:builder", sid="sid"
    )


def sealed(body: Any = None, *, now_ms: int = NOW) -> Envelope:
    return Sealer(key()).seal("engine_job", body or {"a": 1}, now_ms=now_ms)


def refused(message: object, *, now_ms: int = NOW, event: str = "engine_job") -> str:
    with pytest.raises(BadMessage) as refusal:
        Opener(key()).open(event, message, now_ms=now_ms)
    return refusal.value.reason


def signed(payload: str) -> Envelope:
    nonce = fresh_nonce()
    sig = key().sign(type="engine_job", ts=NOW, nonce=nonce, payload=payload)
    return {"payload": payload, "ts": NOW, "nonce": nonce, "sig": sig}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text("abcé🙂"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("xyz"), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1), JSON, max_size=5))
def test_what_is_sealed_opens_to_the_same(body: dict[str, Any]) -> None:
    envelope = Sealer(key()).seal("engine_job", body, now_ms=NOW)
    assert Opener(key()).open("engine_job", envelope, now_ms=NOW) == body


def test_no_two_messages_have_the_same_nonce() -> None:
    assert len({sealed()["nonce"] for _ in range(100)}) == 100


@pytest.mark.parametrize("late_ms", [-30_000, 0, 30_000])
def test_the_edges_of_the_window_are_inside(late_ms: int) -> None:
    assert Opener(key()).open("engine_job", sealed(now_ms=NOW - late_ms), now_ms=NOW) == {"a": 1}


@pytest.mark.parametrize("late_ms", [-30_001, 30_001])
def test_beyond_the_window_a_message_is_refused(late_ms: int) -> None:
    assert refused(sealed(now_ms=NOW - late_ms)) == "timestamp_expired"


def test_a_message_opens_once() -> None:
    opener, envelope = Opener(key()), sealed()
    opener.open("engine_job", envelope, now_ms=NOW)
    with pytest.raises(BadMessage, match="replay"):
        opener.open("engine_job", envelope, now_ms=NOW + 30_000)


def test_a_nonce_is_remembered_for_as_long_as_its_message_is_fresh_and_then_forgotten() -> None:
    opener = Opener(key())
    early = sealed(now_ms=NOW + 30_000)
    opener.open("engine_job", early, now_ms=NOW)
    for later in range(0, 60_001, 5_000):
        opener.open("engine_job", sealed(now_ms=NOW + later), now_ms=NOW + later)
    with pytest.raises(BadMessage, match="replay"):
        opener.open("engine_job", early, now_ms=NOW + 60_000)
    opener.open("engine_job", sealed(now_ms=NOW + 200_000), now_ms=NOW + 200_000)
    assert len(opener._used) == 1


def test_a_forged_message_burns_no_nonce() -> None:
    opener, envelope = Opener(key()), sealed()
    with pytest.raises(BadMessage):
        opener.open("engine_job", {**envelope, "sig": "0" * 64}, now_ms=NOW)
    assert opener.open("engine_job", envelope, now_ms=NOW) == {"a": 1}


def test_a_message_of_one_type_is_none_of_another() -> None:
    assert refused(sealed(), event="job_abort") == "invalid_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"payload": json.dumps({"a": 2})},
        {"ts": NOW + 1},
        {"nonce": "A" * 32},
        {"sig": "0" * 64},
    ],
)
def test_every_part_is_signed(change: dict[str, Any]) -> None:
    assert refused({**sealed(), **change}) == "invalid_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"payload": {"a": 1}},
        {"ts": str(NOW)},
        {"ts": float(NOW)},
        {"ts": True},
        {"ts": -1},
        {"nonce": "short"},
        {"nonce": "A" * 65},
        {"nonce": "A" * 31 + "\n"},
        {"sig": "0" * 63},
        {"sig": "F" * 64},
        {"sig": None},
        {"extra": 1},
    ],
)
def test_another_form_is_no_envelope(change: dict[str, Any]) -> None:
    assert refused({**sealed(), **change}) == "malformed"


@pytest.mark.parametrize("message", [None, "text", [], {}, 1])
def test_anything_but_an_object_is_no_envelope(message: object) -> None:
    assert refused(message) == "malformed"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("[]", "payload_invalid"),
        ("{", "not_json"),
        ('{"a":1,"a":2}', "duplicate_key"),
        ('{"a":NaN}', "not_finite"),
    ],
)
def test_an_authentic_message_must_still_be_strict_json(payload: str, reason: str) -> None:
    assert refused(signed(payload)) == reason


def test_what_is_no_json_is_never_sealed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Sealer(key()).seal("job_completed", {"a": float("nan")}, now_ms=NOW)
    with pytest.raises(TypeError):
        Sealer(key()).seal("job_completed", cast("dict[str, Any]", {"a": object()}), now_ms=NOW)
