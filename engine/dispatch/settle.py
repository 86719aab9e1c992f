"""What follows from a job's end, decided under the build's lock: the next stage, or the end.

Without that lock two last siblings that complete at once would each see the other as open, and the
build would hang (docs/engine.md).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from engine.dispatch.moves import move
from engine.dispatch.rows import lock_jobs, open_jobs
from engine.leases import backoff_s, may_be_lost_again, may_try_again
from engine.ledger import Ledger
from engine.models import LIVE_STATES, Build, Job
from engine.states import BuildEvent, BuildState, Event, Reason, State, after_build
from engine.views import world_update

__all__ = [
    "CANCELLED",
    "EXPIRED",
    "Ending",
    "cancelled",
    "end_attempt",
    "fail_build",
    "job_completed",
    "move_build",
    "open_next_stage",
]

MESSAGES: Final[Mapping[Reason, str]] = {
    Reason.ENGINE_FAILED: "The engine reported a failure.",
    Reason.ENGINE_LOST: "The engine was lost too often.",
    Reason.LEASE_LAPSED: "The engine fell silent about the job too often.",
    Reason.RAN_TOO_LONG: "The job took longer than it may.",
    Reason.CANCELLED: "The job was cancelled.",
    Reason.UPSTREAM_FAILED: "Another job of the build failed.",
    Reason.EXPIRED: "The job waited longer than it may.",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended without a result. `code` and `message` are the engine's own, if any.

    `lost`: the engine went, which does not count as an attempt of the job.
    """

    reason: Reason
    code: str = ""
    message: str = ""
    retryable: bool = True
    lost: bool = False

    def error(self) -> dict[str, str]:
        """The fields of a job or a build that failed by this."""
        return {
            "error_code": self.code or self.reason.value,
            "error_message": self.message or MESSAGES[self.reason],
        }


CANCELLED: Final = Ending(Reason.CANCELLED, retryable=False)
EXPIRED: Final = Ending(Reason.EXPIRED, retryable=False)
UPSTREAM_FAILED: Final = Ending(Reason.UPSTREAM_FAILED, retryable=False)


# An attempt that brought no result


def end_attempt(
    build: Build,
    job: Job,
    ending: Ending,
    ledger: Ledger,
    *,
    changes: Mapping[str, object] | None = None,
) -> None:
    """Give a live job back to the queue if it may be tried again; else fail it and its build."""
    ledger.assignable()
    changes = changes or {}
    detail = {"reason": ending.reason.value, **ending.error()}
    if job.cancel_requested:
        cancelled(build, [job], ledger, changes=changes)
        fail_build(build, CANCELLED, ledger)
    elif again := _again(job, ending, ledger.now):
        move(build, [job], Event.RELEASE, ledger, detail=detail, changes={**again, **changes})
    else:
        failed = {**ending.error(), **changes}
        move(build, [job], Event.FAIL, ledger, detail=detail, changes=failed)
        build.failed += 1
        fail_build(build, ending, ledger)


def _again(job: Job, ending: Ending, now: datetime) -> Mapping[str, object] | None:
    """Return what to change for another try, or None if there is none."""
    if ending.lost:
        losses = job.losses + 1
        return {"losses": losses} if may_be_lost_again(losses) else None
    counted = max(job.attempt - job.losses, 1)
    if not ending.retryable or not may_try_again(counted):
        return None
    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
    return {"not_before": now + timedelta(seconds=backoff_s(counted, jitter))}


def cancelled(
    build: Build,
    jobs: list[Job],
    ledger: Ledger,
    *,
    changes: Mapping[str, object] | None = None,
) -> None:
    """Fail open jobs because a person wished it."""
    move(build, jobs, Event.CANCEL, ledger, changes={**CANCELLED.error(), **(changes or {})})
    build.failed += len(jobs)


def fail_build(build: Build, ending: Ending, ledger: Ledger) -> None:
    """Fail what is still open of a build, tell the engines to drop it, and fail the build."""
    rest = lock_jobs(open_jobs(build))
    for job in rest:
        if job.state in LIVE_STATES and not job.cancel_requested:
            ledger.abort(job, Reason.UPSTREAM_FAILED.value)
    cancelled(build, [job for job in rest if job.cancel_requested], ledger)
    upstream = [job for job in rest if not job.cancel_requested]
    move(build, upstream, Event.UPSTREAM_FAIL, ledger, changes=UPSTREAM_FAILED.error())
    build.failed += len(upstream)
    error = ending.error()
    build.error_code, build.error_message = error["error_code"], error["error_message"]
    move_build(build, BuildEvent.FAIL, ledger)
    ledger.assignable()


# A result


def job_completed(build: Build, ledger: Ledger) -> None:
    """Count a completed job; open the next stage, or end the build, if it was the last one."""
    build.completed += 1
    ledger.assignable()
    if build.failed:
        _end_cancelled_build(build, ledger)
    elif open_jobs(build).filter(ready=True).exists() or open_next_stage(build):
        _save(build, ledger)
    else:
        move_build(build, BuildEvent.COMPLETE, ledger)
        ledger.tell(
            build.user_id, "world_update", world_update(build), once=f"world_update:{build.id}"
        )


def _end_cancelled_build(build: Build, ledger: Ledger) -> None:
    """A completion came before the engine heard of the cancel: the build ends with its last job."""
    if open_jobs(build).exists():
        _save(build, ledger)
    else:
        fail_build(build, CANCELLED, ledger)


def open_next_stage(build: Build) -> bool:
    """Let the jobs of the lowest stage that has not begun be dispatched; False if all have.

    The finishing job comes after everything else, as if it were a stage of its own.
    """
    closed = Job.objects.filter(build=build, state=State.QUEUED.value, ready=False)
    following = closed.order_by("finish", "stage").values("finish", "stage").first()
    if following is None:
        return False
    closed.filter(**following).update(ready=True)
    return True


# The build


def move_build(build: Build, event: BuildEvent, ledger: Ledger) -> None:
    """Move a build that the caller has locked, save its counts, and tell its owner."""
    build.state = after_build(BuildState(build.state), event).value
    if event is BuildEvent.START:
        build.started_at = ledger.now
    build.finished_at = ledger.now if event in {BuildEvent.COMPLETE, BuildEvent.FAIL} else None
    _save(build, ledger)


def _save(build: Build, ledger: Ledger) -> None:
    build.save(update_fields=SAVED)
    ledger.tell_build(build)


SAVED: Final = (
    "state",
    "opening",
    "cancel_requested",
    "total",
    "completed",
    "failed",
    "error_code",
    "error_message",
    "started_at",
    "finished_at",
    "engine_name",
)
