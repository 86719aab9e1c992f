"""Each nonce passes the gate once."""

import asyncio

import pytest

from security.refusals import Refused
from tests.security.gate.gate_bench import (
    DRIFT,
    GRACE,
    KEY,
    NONCE,
    NOW,
    SIGNED,
    Nonces,
    envelope,
    gate,
)


def test_verifying_consumes_nothing() -> None:
    nonces = Nonces()
    gate(nonces).verify(envelope(), key=KEY, now_ms=NOW)
    assert nonces.asked == []


def test_a_nonce_is_kept_until_its_message_can_pass_no_window() -> None:
    nonces = Nonces()
    signed = gate(nonces).verify(envelope(ts=NOW - 7), key=KEY, now_ms=NOW)
    assert gate(nonces).consume(signed, principal="user:1", now_ms=NOW) is None
    assert nonces.asked == [("user", "user:1", NONCE, NOW - 7 + DRIFT + GRACE, NOW)]


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
