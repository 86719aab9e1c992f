"""The numbers of a job's life are those of the design, at their edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import leases
from engine.states import LIVE, State
from engine.worldspec import JobType


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (9, 30)]
)
def test_backoff_doubles_from_one_second_up_to_thirty(attempt: int, seconds: float) -> None:
    assert leases.backoff_s(attempt, 0.5) == seconds


@given(st.integers(1, 12), st.floats(0, 1))
def test_jitter_spreads_backoff_by_a_fifth_and_never_over_the_cap(
    attempt: int, jitter: float
) -> None:
    plain = 2 ** (attempt - 1)
    wait = leases.backoff_s(attempt, jitter)
    assert min(0.8 * plain, 30) - 1e-9 <= wait <= min(1.2 * plain, 30) + 1e-9


def test_the_whole_spread_is_used() -> None:
    assert [leases.backoff_s(2, jitter) for jitter in (0, 1)] == [1.6, 2.4]


def test_a_lease_exists_exactly_while_an_engine_holds_the_job() -> None:
    assert {state: leases.lease_s(state) for state in LIVE} == {
        State.DISPATCHED: 10,
        State.RUNNING: 15,
    }
    for state in set(State) - LIVE:
        with pytest.raises(KeyError):
            leases.lease_s(state)


@pytest.mark.parametrize(
    ("job_type", "seconds"),
    [(JobType.BUILD_SCENE, 120), (JobType.LOAD_ASSETS, 300), (JobType.SPAWN_ENTITY, 60)],
)
def test_the_longest_run_depends_on_the_type_unless_the_job_finishes_its_build(
    job_type: JobType, seconds: int
) -> None:
    assert leases.longest_run_s(job_type, finish=False) == seconds
    assert leases.longest_run_s(job_type, finish=True) == 300


def test_the_third_attempt_is_the_last() -> None:
    assert [leases.may_try_again(attempts) for attempts in (0, 1, 2, 3, 4)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_job_outlives_five_lost_engines_and_not_the_sixth() -> None:
    assert [leases.may_be_lost_again(losses) for losses in (1, 5, 6)] == [True, True, False]
