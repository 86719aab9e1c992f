"""Jobs that wait for an engine for longer than they may (docs/engine.md, "When an engine goes").

Without this a hub whose engines never come back would hold on to builds, and to the quotas of their
owners, for ever: no job would be lost, and none would end.
"""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, QuerySet

from engine.dispatch.moves import move
from engine.dispatch.rows import OPEN_STATES, lock_builds_at_rest, lock_jobs
from engine.dispatch.settle import EXPIRED, fail_build
from engine.ledger import Ledger
from engine.models import Build, Job
from engine.states import Event, State
from security.conf import hub

__all__ = ["BATCH", "expire", "expired_builds"]

BATCH = 10  # builds in one transaction: each may have a thousand jobs to fail


def expired_builds(now: datetime) -> "QuerySet[Build]":
    """The builds with a job that could have been dispatched since `HUB_JOB_WAIT_HOURS`.

    The age of the build is asked first: it has an index that leaves out what has ended.
    """
    before = _before(now)
    waiting = _waiting(before).filter(build=OuterRef("pk"))
    return Build.objects.filter(Exists(waiting), state__in=OPEN_STATES, created_at__lt=before)


def expire(now: datetime, ledger: Ledger) -> int:
    """Fail those builds, at most `BATCH`, in the caller's transaction; return how many."""
    builds = lock_builds_at_rest(expired_builds(now).values_list("pk", flat=True)[:BATCH])
    for build in builds:
        jobs = lock_jobs(_waiting(_before(now)).filter(build=build))
        move(build, jobs, Event.EXPIRE, ledger, changes=EXPIRED.error())
        build.failed += len(jobs)
        fail_build(build, EXPIRED, ledger)
    return len(builds)


def _waiting(before: datetime) -> "QuerySet[Job]":
    return Job.objects.filter(state=State.QUEUED.value, ready=True, queued_at__lt=before)


def _before(now: datetime) -> datetime:
    return now - timedelta(hours=hub().job_wait_hours)
