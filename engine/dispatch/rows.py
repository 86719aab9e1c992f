"""Finding rows and locking them, in the order that every transaction keeps."""

from collections.abc import Iterable

from django.db.models import QuerySet

from engine.models import Build, EngineSession, Job
from engine.states import OPEN

__all__ = [
    "OPEN_STATES",
    "lock_build",
    "lock_build_of",
    "lock_builds_at_rest",
    "lock_engine",
    "lock_jobs",
    "open_jobs",
]

OPEN_STATES = sorted(state.value for state in OPEN)


def lock_build(build_id: str) -> Build | None:
    """Return a build, locked until the end of the transaction; None if there is none.

    Its specification, up to half a megabyte, is read only where somebody asks for it.
    """
    rows = Build.objects.select_for_update(no_key=True).defer("world_text")
    return rows.filter(pk=build_id).first()


def lock_build_of(job_id: str) -> Build | None:
    """Return the build of a job, locked; None if there is no such job."""
    rows = Build.objects.select_for_update(no_key=True, of=("self",)).defer("world_text")
    return rows.filter(jobs=job_id).order_by().first()


def lock_builds_at_rest(build_ids: Iterable[str]) -> list[Build]:
    """Return open builds, locked in order, without those that another transaction is at work on."""
    ids = set(build_ids)
    if not ids:
        return []
    rows = Build.objects.select_for_update(skip_locked=True, no_key=True).defer("world_text")
    return list(rows.filter(pk__in=ids, state__in=OPEN_STATES).order_by("id"))


def lock_engine(session_id: str) -> EngineSession | None:
    """Return an open engine connection, locked; None if it is closed or unknown."""
    rows = EngineSession.objects.select_for_update(no_key=True)
    return rows.filter(pk=session_id, closed_at=None).first()


def lock_jobs(jobs: "QuerySet[Job]", *, skip_locked: bool = False) -> list[Job]:
    """Return jobs with their engine connections, locked in the order of their ids.

    The caller has locked their builds, or skips what others have locked. Payloads and results,
    which can be large, are read only where somebody asks for them.
    """
    rows = jobs.select_related("engine_session").select_for_update(
        no_key=True, of=("self",), skip_locked=skip_locked
    )
    return list(rows.defer("payload", "result").order_by("id"))


def open_jobs(build: Build) -> "QuerySet[Job]":
    """The jobs of a build that still have an end before them."""
    return Job.objects.filter(build=build, state__in=OPEN_STATES)
