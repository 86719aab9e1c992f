"""The hub's clock goes on, whatever the wall clock does."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from security import clock
from security.clock import NS_PER_MS, Clock


@dataclass
class Sources:
    """A wall clock and a monotonic clock that a test pushes."""

    wall_ms: int = 1_000_000
    monotonic_ms: int = 50

    def clock(self) -> Clock:
        return Clock(
            wall=lambda: self.wall_ms * NS_PER_MS, monotonic=lambda: self.monotonic_ms * NS_PER_MS
        )

    def pass_ms(self, elapsed: int, *, wall_step: int = 0) -> None:
        self.monotonic_ms += elapsed
        self.wall_ms += elapsed + wall_step


def test_it_starts_at_wall_time_and_goes_on_with_monotonic_time() -> None:
    sources = Sources()
    clock = sources.clock()
    assert clock.now_ms() == 1_000_000
    sources.pass_ms(250)
    assert clock.now_ms() == 1_000_250


def test_a_backward_step_of_the_wall_clock_changes_nothing() -> None:
    sources = Sources()
    clock = sources.clock()
    sources.pass_ms(10, wall_step=-3_600_000)
    assert clock.now_ms() == 1_000_010
    assert clock.ahead_ms() == 3_600_000


def test_a_forward_step_is_followed_at_once_and_kept() -> None:
    sources = Sources()
    clock = sources.clock()
    sources.pass_ms(10, wall_step=5_000)
    assert clock.now_ms() == 1_005_010
    sources.pass_ms(10, wall_step=-5_000)
    assert clock.now_ms() == 1_005_020


def test_a_pause_between_the_two_readings_does_not_push_the_clock_ahead() -> None:
    sources = Sources()
    clock = sources.clock()

    def read_wall_then_pause() -> int:
        wall = sources.wall_ms
        sources.pass_ms(40)
        return wall * NS_PER_MS

    clock._wall = read_wall_then_pause
    clock.now_ms()
    clock._wall = lambda: sources.wall_ms * NS_PER_MS
    assert clock.now_ms() == sources.wall_ms
    assert clock.ahead_ms() == 0


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(-100_000, 100_000)), max_size=30))
def test_no_sequence_of_steps_turns_it_back_or_leaves_it_behind(
    steps: list[tuple[int, int]],
) -> None:
    sources = Sources()
    clock = sources.clock()
    before = clock.now_ms()
    for elapsed, wall_step in steps:
        sources.pass_ms(elapsed, wall_step=wall_step)
        now = clock.now_ms()
        assert now >= before + elapsed
        assert now >= sources.wall_ms
        before = now


def test_of_two_threads_that_saw_a_step_the_larger_one_wins() -> None:
    sources = Sources()
    clock = sources.clock()
    clock._anchor(clock._offset + 9 * NS_PER_MS)
    clock._anchor(clock._offset - 5 * NS_PER_MS)
    assert clock.now_ms() == 1_000_009


def test_the_clock_of_the_process_tells_wall_time() -> None:
    assert clock.now_ms() >= 1_700_000_000_000
