"""How long a socket may stay; what the namespace does with it is in secured/."""

from types import SimpleNamespace
from typing import Any

import pytest

from realtime import tenure
from realtime.timers import Timers
from security import clock
from tests.realtime.guarded import PushedTime


class Node:
    """What a tenure asks of a node."""

    def __init__(self, time: PushedTime) -> None:
        self.now = time.time
        self.timers = Timers(time)  # type: ignore[arg-type]  # stands in for a loop


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> PushedTime:
    pushed = PushedTime()
    monkeypatch.setattr(clock, "now_ms", pushed.now_ms)
    return pushed


def socket(time: PushedTime, *, expires_in_ms: int) -> Any:
    said: list[tuple[int, str]] = []
    heard: list[str] = []
    return SimpleNamespace(
        said=said,
        heard=heard,
        emit=lambda event, _body: heard.append(event),
        state=SimpleNamespace(timers={}, expires_at_ms=time.now_ms() + expires_in_ms),
        session=SimpleNamespace(
            node=Node(time), close=lambda code, detail: said.append((code, detail))
        ),
    )


def test_a_warning_a_minute_before_and_the_end_at_the_expiry(time: PushedTime) -> None:
    watched = socket(time, expires_in_ms=100_000)
    tenure.begin(watched, life_s=1_000)
    time.advance(40)
    assert watched.heard == ["auth_expiring"]
    time.advance(60)
    assert watched.heard == ["auth_expiring", "auth_expired"]
    assert watched.said == [(4401, "token expired")]


def test_a_token_with_less_than_a_minute_is_warned_of_at_once(time: PushedTime) -> None:
    watched = socket(time, expires_in_ms=10_000)
    tenure.begin(watched, life_s=1_000)
    time.advance(0)
    assert watched.heard == ["auth_expiring"]


@pytest.mark.parametrize("expires_in_ms", [0, -5_000])
def test_a_token_that_is_over_ends_at_once(time: PushedTime, expires_in_ms: int) -> None:
    watched = socket(time, expires_in_ms=expires_in_ms)
    tenure.begin(watched, life_s=1_000)
    time.advance(0)
    assert watched.said == [(4401, "token expired")]


def test_the_longest_life_is_not_prolonged(time: PushedTime) -> None:
    watched = socket(time, expires_in_ms=100_000)
    tenure.begin(watched, life_s=500)
    for _ in range(9):
        time.advance(50)
        watched.state.expires_at_ms = time.now_ms() + 100_000
        tenure.prolong(watched)
    assert watched.said == []
    time.advance(50)
    assert watched.said == [(4401, "age")]


def test_expiry_is_the_very_millisecond(time: PushedTime) -> None:
    watched = socket(time, expires_in_ms=1)
    assert not tenure.has_expired(watched)
    time.now += 0.001
    assert tenure.has_expired(watched)


def test_nothing_rings_after_the_end(time: PushedTime) -> None:
    watched = socket(time, expires_in_ms=100_000)
    tenure.begin(watched, life_s=500)
    tenure.end(watched)
    time.advance(1_000)
    assert (watched.heard, watched.said, watched.state.timers) == ([], [], {})
