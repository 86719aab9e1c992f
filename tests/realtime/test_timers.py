"""Deadlines of one process: in order, once, and one broken callback harms no other."""

import pytest

from realtime import timers
from realtime.timers import Timers
from tests.realtime.asgi import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deadlines(clock: Clock) -> Timers:
    return Timers(clock)  # type: ignore[arg-type]  # all that Timers uses of a loop


def test_deadlines_ring_in_order_and_once(clock: Clock, deadlines: Timers) -> None:
    rung: list[str] = []
    deadlines.after(2, lambda: rung.append("late"))
    deadlines.after(1, lambda: rung.append("early"))
    clock.push(1)
    assert rung == ["early"]
    clock.push(5)
    assert (rung, len(deadlines)) == (["early", "late"], 0)


def test_a_cancelled_deadline_does_not_ring_and_a_rung_one_may_be_cancelled(
    clock: Clock, deadlines: Timers
) -> None:
    rung: list[str] = []
    called_off = deadlines.after(1, lambda: rung.append("no"))
    fired = deadlines.after(1, lambda: rung.append("yes"))
    called_off.cancel()
    clock.push(1)
    fired.cancel()
    assert rung == ["yes"]


def test_a_callback_may_set_the_next_deadline(clock: Clock, deadlines: Timers) -> None:
    rung: list[float] = []

    def ring() -> None:
        rung.append(clock.now)
        deadlines.after(1, ring)

    deadlines.after(1, ring)
    clock.push(3)
    assert rung == [1_001.0, 1_002.0, 1_003.0]


def test_a_callback_that_raises_is_logged_and_the_others_ring(
    clock: Clock, deadlines: Timers, caplog: pytest.LogCaptureFixture
) -> None:
    rung: list[str] = []
    deadlines.after(1, lambda: 1 // 0)
    deadlines.after(1, lambda: rung.append("other"))
    clock.push(1)
    assert (rung, "ZeroDivisionError" in caplog.text) == (["other"], True)


def test_cancelled_deadlines_are_swept_and_living_ones_are_not(
    clock: Clock, deadlines: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LITTER", 10)
    deadlines._sweep_at = 10
    kept = [deadlines.after(100, lambda: None) for _ in range(30)]
    for timer in kept[:20]:
        timer.cancel()
    deadlines.after(1, lambda: None)
    clock.push(1)
    assert (len(deadlines), deadlines._sweep_at) == (10, 20)


def test_stopping_forgets_every_deadline(clock: Clock, deadlines: Timers) -> None:
    rung: list[str] = []
    deadlines.after(1, lambda: rung.append("no"))
    deadlines.stop()
    clock.push(2)
    assert rung == []
