"""The reaper: jobs whose lease, longest run or wait is over, and engines that fell silent."""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q

from engine.clock import moment
from engine.dispatch.expiry import BATCH, expire, expired_builds
from engine.dispatch.rows import lock_builds_at_rest, lock_jobs
from engine.dispatch.settle import Ending, end_attempt
from engine.leases import GONE_AFTER_S, RESCUE_BATCH, SILENT_AFTER_S
from engine.ledger import Ledger
from engine.models import LIVE_STATES, Build, EngineSession, Job
from engine.outcome import Outcome
from engine.states import FINAL, Reason, State

__all__ = ["GONE_AFTER", "SILENT_AFTER", "rescue"]

SILENT_AFTER: Final = timedelta(seconds=SILENT_AFTER_S)
GONE_AFTER: Final = timedelta(seconds=GONE_AFTER_S)


def rescue(now: datetime | None = None) -> Outcome:
    """End at most 100 attempts that are over and a few builds that expired; mark silent engines.

    Answers `{rescued, more}`: with `more`, call again. Any process may call at any time; two that
    do so at once take different builds.
    """
    at = moment(now)
    over = Q(state__in=LIVE_STATES, lease_expires_at__lte=at)
    late = Q(closed_at=None, last_seen_at__lt=at - SILENT_AFTER)
    if not (
        Job.objects.filter(over).exists()
        or EngineSession.objects.filter(late).exists()
        or expired_builds(at).exists()
    ):
        return Outcome(reply={"rescued": 0, "more": False})  # no lock taken: the usual case
    with transaction.atomic():
        ledger = Ledger(at)
        _mark_silent(late, ledger)
        rows = Job.objects.filter(over).order_by("lease_expires_at")
        found = list(rows.values_list("id", "build_id")[:RESCUE_BATCH])
        rescued = 0
        for build in lock_builds_at_rest(build_id for _, build_id in found):
            ids = [job_id for job_id, build_id in found if build_id == build.id]
            rescued += _rescue_build(build, lock_jobs(Job.objects.filter(over, pk__in=ids)), ledger)
        expired = expire(at, ledger)
        more = len(found) == RESCUE_BATCH or expired == BATCH
        return ledger.close({"rescued": rescued, "more": more})


def _rescue_build(build: Build, jobs: list[Job], ledger: Ledger) -> int:
    for count, job in enumerate(jobs):
        if State(build.state) in FINAL:  # the one before took the rest with it
            return count
        ending = _ending(job, ledger.now)
        if not job.cancel_requested:
            ledger.abort(job, ending.reason.value)
        end_attempt(build, job, ending, ledger)
    return len(jobs)


def _ending(job: Job, now: datetime) -> Ending:
    """Tell why an attempt is over: a lease of a running job never ends after its longest run."""
    if job.run_until is not None and job.run_until <= now:
        return Ending(Reason.RAN_TOO_LONG)
    engine = job.engine_session
    away = {EngineSession.State.LOST, EngineSession.State.SILENT}
    if engine is None or engine.state in away:
        return Ending(Reason.ENGINE_LOST, lost=True)
    return Ending(Reason.LEASE_LAPSED)


def _mark_silent(late: Q, ledger: Ledger) -> None:
    """Show engines without heartbeats as silent, and in the end as lost.

    One that another transaction has locked is heard of just now, or marked by that one.
    """
    locked = EngineSession.objects.select_for_update(skip_locked=True, no_key=True).filter(late)
    rows = EngineSession.objects.filter(pk__in=[each.pk for each in locked.order_by("id")])
    gone = rows.filter(last_seen_at__lt=ledger.now - GONE_AFTER)
    changed = gone.update(state=EngineSession.State.LOST, closed_at=ledger.now)
    quiet = rows.filter(closed_at=None).exclude(state=EngineSession.State.SILENT)
    changed += quiet.update(state=EngineSession.State.SILENT)
    if changed:
        ledger.engines_changed()
