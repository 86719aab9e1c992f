"""Cancelling: what waits fails at once, what an engine holds ends with its word or its lease."""

from datetime import datetime

from django.db import transaction

from engine.clock import moment
from engine.dispatch.rows import lock_build, lock_build_of, lock_jobs, open_jobs
from engine.dispatch.settle import CANCELLED, cancelled, fail_build
from engine.ledger import Ledger
from engine.models import LIVE_STATES, Build, Job
from engine.outcome import Outcome
from engine.states import FINAL, Reason, State
from security.refusals import Refused

__all__ = ["cancel_build", "cancel_job"]


def cancel_build(
    user_id: int, build_id: str, *, staff: bool = False, now: datetime | None = None
) -> Outcome:
    """Cancel a build; answers `{build_id, status}`. A second time changes nothing.

    Raises `Refused`: `not_found` (also for another's build), `conflict` (it ended already).
    """
    with transaction.atomic():
        build = _owned(lock_build(build_id), user_id, staff=staff)
        ledger = Ledger(moment(now))
        if not _was_cancelled(build):
            _cancel(build, lock_jobs(open_jobs(build)), ledger)
        return ledger.close({"build_id": build.id, "status": build.state})


def cancel_job(
    user_id: int, job_id: str, *, staff: bool = False, now: datetime | None = None
) -> Outcome:
    """Cancel one job, and with it its build; answers `{job_id, build_id, status}` of the job.

    Raises `Refused`: `not_found` (also for another's job), `conflict` (it ended already).
    """
    with transaction.atomic():
        build = _owned(lock_build_of(job_id), user_id, staff=staff)
        (job,) = lock_jobs(Job.objects.filter(pk=job_id))
        if State(job.state) in FINAL:
            raise Refused("conflict", reason="the job has ended")
        ledger = Ledger(moment(now))
        if job.state in LIVE_STATES:
            _ask_engines([job], ledger)
        else:
            cancelled(build, [job], ledger)
            fail_build(build, CANCELLED, ledger)
        return ledger.close({"job_id": job.id, "build_id": build.id, "status": job.state})


def _owned(build: Build | None, user_id: int, *, staff: bool) -> Build:
    if build is None or (build.user_id != user_id and not staff):
        raise Refused("not_found", reason="nothing of that name is this person's")
    return build


def _was_cancelled(build: Build) -> bool:
    if build.cancel_requested:
        return True
    if State(build.state) in FINAL:
        raise Refused("conflict", reason="the build has ended")
    return False


def _cancel(build: Build, jobs: list[Job], ledger: Ledger) -> None:
    """Cancel what waits, ask the engines to drop the rest; without a rest, end the build."""
    build.cancel_requested = True
    live = [job for job in jobs if job.state in LIVE_STATES]
    cancelled(build, [job for job in jobs if job.state not in LIVE_STATES], ledger)
    _ask_engines(live, ledger)
    if not live:
        fail_build(build, CANCELLED, ledger)
        return
    build.save(update_fields=["cancel_requested", "failed"])
    ledger.tell_build(build)


def _ask_engines(jobs: list[Job], ledger: Ledger) -> None:
    """Mark live jobs as cancelled and tell their engines, each once."""
    fresh = [job for job in jobs if not job.cancel_requested]
    Job.objects.filter(pk__in=[job.id for job in fresh]).update(cancel_requested=True)
    for job in fresh:
        job.cancel_requested = True
        ledger.abort(job, Reason.CANCELLED.value)
        ledger.job_noted(job, "cancel_asked")
