"""A move of jobs: one conditional UPDATE, its history and what the owner is told of it.

Errors: `JobMoved`, the rows were no longer as the caller saw them. Under the build's lock that is
our own fault; with a guard it means that a report came too late.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import Q

from engine.ledger import Ledger
from engine.models import Build, Job
from engine.outcome import Body
from engine.states import FINAL, Event, State, after

__all__ = ["JobMoved", "move"]


class JobMoved(Exception):
    """Jobs were not in the state that a move began from. Nothing of the move is left."""

    def __init__(self, job_ids: list[str], event: Event) -> None:
        self.job_ids, self.event = job_ids, event
        super().__init__(job_ids, event)

    def __str__(self) -> str:
        return f"{self.event.value} came too late for {', '.join(self.job_ids[:5])}"


def move(
    build: Build,
    jobs: Iterable[Job],
    event: Event,
    ledger: Ledger,
    *,
    changes: Mapping[str, object] | None = None,
    guard: Q | None = None,
    detail: Body | None = None,
) -> None:
    """Move jobs of a build and change their fields, in the rows and in the given instances.

    `guard` is a further condition on each row. Raises `IllegalTransition` for a state that does not
    know the event, and `JobMoved` if a row was not as given; the transaction must then be undone.
    """
    for state, group in _by_state(jobs).items():
        target = after(state, event)
        fields = {"state": target.value, **_entering(target, ledger.now), **(changes or {})}
        rows = Job.objects.filter(guard or Q(), pk__in=[job.id for job in group], state=state.value)
        if rows.update(**fields) != len(group):
            raise JobMoved([job.id for job in group], event)
        for job in group:
            _note(build, job, event, ledger, fields, detail)


def _by_state(jobs: Iterable[Job]) -> Mapping[State, list[Job]]:
    groups: dict[State, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[State(job.state)].append(job)
    return groups


def _entering(target: State, now: datetime) -> dict[str, object]:
    """What a state says about the fields of a job that enters it."""
    if target in FINAL:
        return {"lease_expires_at": None, "run_until": None, "finished_at": now}
    if target is State.QUEUED:
        return {
            "lease_expires_at": None,
            "run_until": None,
            "progress": 0,
            "progress_sent_at": None,
            "dispatched_at": None,
            "started_at": None,
        }
    return {}


def _note(
    build: Build,
    job: Job,
    event: Event,
    ledger: Ledger,
    fields: Mapping[str, object],
    detail: Body | None,
) -> None:
    before = job.state
    for name, value in fields.items():
        setattr(job, name, value)
    ledger.job_moved(job, event.value, from_state=before, detail=detail)
    ledger.tell_job(build.user_id, job)
