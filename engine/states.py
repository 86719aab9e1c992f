"""The states of jobs and builds as tables, from which everything else derives.

Pure: no Django, no clock, no I/O. Model choices, CHECK constraints, the triggers that refuse
illegal moves even by raw SQL, admin filters, the documentation's diagram and the all-pairs test
read these tables (docs/engine.md). Nothing else says which move is legal.

A move is named by its `Event`; why it came about is its `Reason`, so that "back to the queue" is
one move, whether the lease lapsed or the engine was lost.

Errors: `IllegalTransition` (ValueError), an event that the state does not know.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = [
    "BUILD_TABLE",
    "FINAL",
    "LIVE",
    "OPEN",
    "REASONS",
    "TABLE",
    "BuildEvent",
    "BuildState",
    "Event",
    "IllegalTransition",
    "Reason",
    "State",
    "after",
    "after_build",
    "build_choices",
    "choices",
    "illegal_build_move_sql",
    "illegal_move_sql",
    "legal_build_moves",
    "legal_moves",
    "mermaid",
]


class State(StrEnum):
    """Where a job is. Every accepted job ends in exactly one of `FINAL`, and stays there."""

    QUEUED = "queued"
    """In: accepted with its build, or released by an engine. Out: dispatched, or failed unseen."""

    DISPATCHED = "dispatched"
    """In: sent to an engine under a short lease. Out: the engine says that it started, or nothing
    in time (released), or that it cannot; or the job is cancelled."""

    RUNNING = "running"
    """In: the engine said `job_started`; no timer pretends it. Out: a result, a failure, or a lease
    that lapsed."""

    COMPLETED = "completed"
    """In: the engine's first accepted result. Final."""

    FAILED = "failed"
    """In: a failure without attempts left, a cancel, a failure upstream, or expiry. Final: a retry
    of the build makes a new job that is linked to this one."""


class Event(StrEnum):
    """What moves a job."""

    DISPATCH = "dispatch"
    """It was given to an engine."""

    START = "start"
    """The engine began."""

    COMPLETE = "complete"
    """The engine brought the result."""

    RELEASE = "release"
    """The attempt is over, the job goes back to the queue: attempts are left."""

    FAIL = "fail"
    """The attempt is over, and it was the last one or the failure is not retryable."""

    CANCEL = "cancel"
    """A person's wish: at once in the queue, else confirmed by the engine or by the lease's end."""

    UPSTREAM_FAIL = "upstream_fail"
    """Another job of the build failed for good."""

    EXPIRE = "expire"
    """It waited in the queue for longer than it may."""


class Reason(StrEnum):
    """Why a job was released or failed: its error code, unless an engine gave one of its own."""

    ENGINE_FAILED = "engine_failed"
    ENGINE_LOST = "engine_lost"
    LEASE_LAPSED = "lease_lapsed"
    RAN_TOO_LONG = "ran_too_long"
    CANCELLED = "cancelled"
    UPSTREAM_FAILED = "upstream_failed"
    EXPIRED = "expired"


class BuildState(StrEnum):
    """Where a build is: the sum of its jobs, decided under the build's lock."""

    QUEUED = "queued"
    """In: submitted, or re-opened by a retry. Out: its first job is dispatched, or it fails."""

    RUNNING = "running"
    """In: a job was dispatched. Out: the last job completed, or one failed for good."""

    COMPLETED = "completed"
    """In: every job completed; exactly one `world_update`. Final."""

    FAILED = "failed"
    """In: a job failed for good. Final, unless a retry re-opens the build."""


class BuildEvent(StrEnum):
    """What moves a build."""

    START = "start"
    COMPLETE = "complete"
    FAIL = "fail"
    REOPEN = "reopen"


class IllegalTransition(ValueError):
    """An event came in a state that has no move for it. The state stays as it is."""

    def __init__(self, state: StrEnum, event: StrEnum) -> None:
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"no move from {self.state.value} by {self.event.value}"


TABLE: Final[Mapping[State, Mapping[Event, State]]] = MappingProxyType(
    {
        State.QUEUED: {
            Event.DISPATCH: State.DISPATCHED,
            Event.CANCEL: State.FAILED,
            Event.UPSTREAM_FAIL: State.FAILED,
            Event.EXPIRE: State.FAILED,
        },
        State.DISPATCHED: {
            Event.START: State.RUNNING,
            Event.RELEASE: State.QUEUED,
            Event.FAIL: State.FAILED,
            Event.CANCEL: State.FAILED,
            Event.UPSTREAM_FAIL: State.FAILED,
        },
        State.RUNNING: {
            Event.COMPLETE: State.COMPLETED,
            Event.RELEASE: State.QUEUED,
            Event.FAIL: State.FAILED,
            Event.CANCEL: State.FAILED,
            Event.UPSTREAM_FAIL: State.FAILED,
        },
        State.COMPLETED: {},
        State.FAILED: {},
    }
)

BUILD_TABLE: Final[Mapping[BuildState, Mapping[BuildEvent, BuildState]]] = MappingProxyType(
    {
        BuildState.QUEUED: {
            BuildEvent.START: BuildState.RUNNING,
            BuildEvent.FAIL: BuildState.FAILED,
        },
        BuildState.RUNNING: {
            BuildEvent.COMPLETE: BuildState.COMPLETED,
            BuildEvent.FAIL: BuildState.FAILED,
        },
        BuildState.COMPLETED: {},
        BuildState.FAILED: {BuildEvent.REOPEN: BuildState.QUEUED},
    }
)

_ENDS_OF_AN_ATTEMPT: Final = frozenset(
    {Reason.ENGINE_FAILED, Reason.ENGINE_LOST, Reason.LEASE_LAPSED, Reason.RAN_TOO_LONG}
)

REASONS: Final[Mapping[Event, frozenset[Reason]]] = MappingProxyType(
    {
        Event.RELEASE: _ENDS_OF_AN_ATTEMPT,
        Event.FAIL: _ENDS_OF_AN_ATTEMPT,
        Event.CANCEL: frozenset({Reason.CANCELLED}),
        Event.UPSTREAM_FAIL: frozenset({Reason.UPSTREAM_FAILED}),
        Event.EXPIRE: frozenset({Reason.EXPIRED}),
    }
)
"""The reasons that an event can have; events that are not named need none."""

FINAL: Final = frozenset(state for state, moves in TABLE.items() if not moves)
"""States that are never left."""

OPEN: Final = frozenset(State) - FINAL
"""States of jobs that still have an end before them."""

LIVE: Final = frozenset({State.DISPATCHED, State.RUNNING})
"""States in which an engine holds the job, under a lease."""


def after(state: State, event: Event) -> State:
    """Return the state that `event` leads to; raises `IllegalTransition` if there is none."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def after_build(state: BuildState, event: BuildEvent) -> BuildState:
    """As `after`, for a build."""
    try:
        return BUILD_TABLE[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def legal_moves() -> frozenset[tuple[State, State]]:
    """Return every (from, to) of a job that some event makes."""
    return frozenset((old, new) for old, moves in TABLE.items() for new in moves.values())


def legal_build_moves() -> frozenset[tuple[BuildState, BuildState]]:
    """Return every (from, to) of a build that some event makes."""
    return frozenset((old, new) for old, moves in BUILD_TABLE.items() for new in moves.values())


# What derives from the tables. Plain text throughout: Django would write enum members into
# migrations as imports of this module.


def choices() -> list[tuple[str, str]]:
    """Return (value, label) of each state of a job, for a model field."""
    return [(state.value, state.value) for state in State]


def build_choices() -> list[tuple[str, str]]:
    """Return (value, label) of each state of a build, for a model field."""
    return [(state.value, state.value) for state in BuildState]


def illegal_move_sql(old: str = "OLD.state", new: str = "NEW.state") -> str:
    """Return an SQL condition that is true when a job's update makes an illegal move.

    For the triggers of PostgreSQL and SQLite; an update that leaves the state alone is no move.
    """
    return _illegal_sql(legal_moves(), old=old, new=new)


def illegal_build_move_sql(old: str = "OLD.state", new: str = "NEW.state") -> str:
    """As `illegal_move_sql`, for builds."""
    return _illegal_sql(legal_build_moves(), old=old, new=new)


def _illegal_sql(moves: Iterable[tuple[StrEnum, StrEnum]], *, old: str, new: str) -> str:
    legal = " OR ".join(
        f"({old} = '{before.value}' AND {new} = '{behind.value}')"
        for before, behind in sorted(moves)
    )
    return f"{old} <> {new} AND NOT ({legal})"


def mermaid() -> str:
    """Return the diagram of a job's states for the documentation, in Mermaid's language."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.QUEUED.value}"]
    for old, moves in TABLE.items():
        for new in dict.fromkeys(moves.values()):
            events = ", ".join(event.value for event, to in moves.items() if to is new)
            lines.append(f"    {old.value} --> {new.value}: {events}")
    lines += [f"    {state.value} --> [*]" for state in State if state in FINAL]
    return "\n".join(lines) + "\n"
