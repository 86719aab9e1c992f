"""The numbers of a job's life: attempts, backoff, leases, longest runs (docs/engine.md).

Pure: no Django, no clock, no I/O; the random number of a backoff is an argument. Durations are
seconds.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from engine.states import State
from engine.worldspec import JobType

__all__ = [
    "BACKOFF_CAP_S",
    "ENGINE_LOSSES",
    "GONE_AFTER_S",
    "LEASE_S",
    "LONGEST_RUN_S",
    "MAX_ATTEMPTS",
    "PROGRESS_EVERY_S",
    "RESCUE_BATCH",
    "RESCUE_EVERY_S",
    "SILENT_AFTER_S",
    "STARTS_WITHIN_S",
    "backoff_s",
    "lease_s",
    "longest_run_s",
    "may_be_lost_again",
    "may_try_again",
]

MAX_ATTEMPTS: Final = 3
"""Attempts that a job has. One that ends because its engine was lost does not count."""

ENGINE_LOSSES: Final = 5
"""Lost engines that a job outlives. Without a bound, a job that kills engines kills them all."""

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_CAP_S: Final = 30.0
BACKOFF_SPREAD: Final = 0.2  # jobs that failed together do not come back together

LEASE_S: Final[Mapping[State, int]] = MappingProxyType({State.DISPATCHED: 10, State.RUNNING: 15})
"""How long an engine may be silent about a job it holds; progress and heartbeats renew a lease."""

LONGEST_RUN_S: Final[Mapping[JobType, int]] = MappingProxyType(
    {JobType.BUILD_SCENE: 120, JobType.LOAD_ASSETS: 300, JobType.SPAWN_ENTITY: 60}
)
FINISHING_RUN_S: Final = 300  # the job that also exports and uploads the artifact

STARTS_WITHIN_S: Final = FINISHING_RUN_S
"""How long heartbeats keep what an engine holds and has not begun: its slots are free by then, or
something hangs in them."""

PROGRESS_EVERY_S: Final = 0.2
"""Progress is written and broadcast at most this often per job; the lease is renewed each time."""

SILENT_AFTER_S: Final = LEASE_S[State.DISPATCHED]
"""Without a heartbeat for the shortest lease, of which three were due, an engine is silent."""

GONE_AFTER_S: Final = 120
"""Longer than any socket lives without a heartbeat (90 s): its process died without a word."""

RESCUE_EVERY_S: Final = 1
RESCUE_BATCH: Final = 100


def backoff_s(attempt: int, jitter: float) -> float:
    """Return how long to wait after the failed `attempt` (from 1): 1, 2, 4, ... s, at most 30 s.

    `jitter` is a random number from 0 to 1, which spreads the wait by +-20 %.
    """
    wait = BACKOFF_FIRST_S * 2.0 ** (attempt - 1)
    return min(wait * (1 + BACKOFF_SPREAD * (2 * jitter - 1)), BACKOFF_CAP_S)


def lease_s(state: State) -> int:
    """Return how long a lease lasts; raises `KeyError` for a state in which no engine holds it."""
    return LEASE_S[state]


def longest_run_s(job_type: JobType, finish: bool) -> int:
    """Return how long one attempt may take in all, however often its lease is renewed."""
    return FINISHING_RUN_S if finish else LONGEST_RUN_S[job_type]


def may_try_again(attempts: int) -> bool:
    """Tell whether a job has attempts left after `attempts` that counted."""
    return attempts < MAX_ATTEMPTS


def may_be_lost_again(losses: int) -> bool:
    """Tell whether a job goes back to the queue after its `losses`-th lost engine."""
    return losses <= ENGINE_LOSSES
