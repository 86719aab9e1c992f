"""A message passes the gate inside its window, unchanged, and in one place only."""

from typing import Any

import pytest

from security.refusals import Refused
from security.signatures import MessageKey
from tests.security.gate.gate_bench import (
    DRIFT,
    ENGINE_DOOR,
    KEY,
    NONCE,
    NOW,
    SIG,
    WHERE,
    envelope,
    gate,
    refusal,
    without,
)


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
