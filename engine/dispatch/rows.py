"""Finding rows and locking them, in the order that every transaction keeps."""

from django.db.models import QuerySet

from engine.models import Build, EngineSession, Job
from engine.states import OPEN

__all__ = ["OPEN_STATES", "lock_build", "lock_build_of", "lock_engine", "lock_jobs", "open_jobs"]

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


def lock_engine(session_id: str) -> EngineSession | None:
    """Return an open engine connection, locked; None if it is closed or unknown."""
    rows = EngineSession.objects.select_for_update(no_key=True)
    return rows.filter(pk=session_id, closed_at=None).first()


def lock_jobs(jobs: "QuerySet[Job]") -> list[Job]:
    """Return jobs with their engine connections, locked in the order of their ids.

    Payloads and results, which can be large, are read only where somebody asks for them.
    """
    rows = jobs.select_related("engine_session").select_for_update(no_key=True, of=("self",))
    return list(rows.defer("payload", "result").order_by("id"))


def open_jobs(build: Build) -> "QuerySet[Job]":
    """The jobs of a build that still have an end before them."""
    return Job.objects.filter(build=build, state__in=OPEN_STATES)
