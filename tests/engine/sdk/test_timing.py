"""Waits grow within their bounds."""

from itertools import islice

from engine.sdk.timing import Timing


def test_delays_double_up_to_the_cap_and_are_cut_by_half_at_most() -> None:
    timing = Timing(first_delay_s=1.0, longest_delay_s=8.0)
    for delay, ceiling in zip(islice(timing.delays(), 6), (1, 2, 4, 8, 8, 8), strict=True):
        assert ceiling / 2 <= delay <= ceiling


def test_delays_differ_from_one_engine_to_the_next() -> None:
    assert len({next(Timing().delays()) for _ in range(20)}) > 1


def test_a_wait_that_the_hub_wished_is_never_shortened() -> None:
    assert all(2.0 <= Timing().spread(2.0) <= 2.5 for _ in range(100))
