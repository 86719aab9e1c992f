"""The clock of a service is the hub's."""

import pytest

from realtime.hubclock import HubClock


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
