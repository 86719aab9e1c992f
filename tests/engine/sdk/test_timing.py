"""Waits grow within their bounds, and the clock is the hub's."""

from itertools import islice

import pytest

from engine.sdk.timing import HubClock, Timing


def test_delays_double_up_to_the_cap_and_are_cut_by_half_at_most() -> None:
    timing = Timing(first_delay_s=1.0, longest_delay_s=8.0)
    for delay, ceiling in zip(islice(timing.delays(), 6), (1, 2, 4, 8, 8, 8), strict=True):
        assert ceiling / 2 <= delay <= ceiling


def test_delays_differ_from_one_engine_to_the_next() -> None:
    assert len({next(Timing().delays()) for _ in range(20)}) > 1


def test_a_wait_that_the_hub_wished_is_never_shortened() -> None:
    assert all(2.0 <= Timing().spread(2.0) <= 2.5 for _ in range(100))


class Clocks:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.monotonic = 100.0
        self.wall = 1_000.0

    def hub_clock(self) -> HubClock:
        return HubClock(monotonic=lambda: self.monotonic, wall=lambda: self.wall)


def test_before_the_hub_speaks_the_wall_clock_is_the_best_guess() -> None:
    clocks = Clocks()
    clock = clocks.hub_clock()
    clocks.monotonic += 2
    assert not clock.known
    assert clock.now_ms() == 1_002_000


def test_the_hubs_time_runs_on_whatever_happens_to_the_wall_clock() -> None:
    clocks = Clocks()
    clock = clocks.hub_clock()
    clock.follow(5_000_000)
    clocks.monotonic += 1.5
    clocks.wall -= 86_400
    assert clock.known
    assert clock.now_ms() == 5_001_500


@pytest.mark.parametrize("word", [None, True, "5", 5.0, float("nan")])
def test_anything_but_a_whole_number_is_no_word_for_the_time(word: object) -> None:
    clock = Clocks().hub_clock()
    clock.follow(word)
    assert not clock.known
