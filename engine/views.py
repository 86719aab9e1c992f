"""The shapes in which builds, jobs and engines are shown: one home for socket, feed and HTTP.

Bodies are those of docs/wire.md: names in snake_case, times in milliseconds, ids as opaque text.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import orjson
from django.db.models import Count, F, Q

from engine.clock import milliseconds, moment
from engine.leases import GONE_AFTER_S, SILENT_AFTER_S
from engine.models import LIVE_STATES, Build, EngineSession, Job

__all__ = [
    "CURRENT",
    "artifact_url",
    "build_detail",
    "build_snapshot",
    "build_status",
    "build_summary",
    "current_jobs",
    "engine_online",
    "engine_status",
    "job_detail",
    "job_status",
    "live_jobs_by_engine",
    "shown_state",
    "thumbnail_url",
    "world_update",
]

CURRENT: Final = Q(state="completed") | Q(opening=F("build__opening"))
"""The jobs that count for a build now: a failed one of an earlier opening was replaced."""

TAKING_JOBS: Final = frozenset({EngineSession.State.READY.value, EngineSession.State.BUSY.value})
ONLINE: Final = Q(closed_at__isnull=True, state__in=TAKING_JOBS, capacity__gt=0)

LOST_SHOWN_FOR: Final = timedelta(hours=1)


def job_status(job: Job) -> dict[str, object]:
    """The body of `job_status`; `error` is there once the job has failed."""
    body: dict[str, object] = {
        "job_id": job.id,
        "build_id": job.build_id,
        "job_type": job.job_type,
        "status": job.state,
        "attempt": job.attempt,
        "progress": job.progress,
        "queued_at": milliseconds(job.queued_at),
        "dispatched_at": milliseconds(job.dispatched_at),
        "started_at": milliseconds(job.started_at),
        "finished_at": milliseconds(job.finished_at),
    }
    if job.error_code:
        body["error"] = {"code": job.error_code, "message": job.error_message}
    return body


def job_detail(job: Job) -> dict[str, object]:
    """A job as HTTP shows it: its status, its place in the build, its result."""
    return {
        **job_status(job),
        "stage": job.stage,
        "finish": job.finish,
        "retry_of": job.retry_of_id,
        "result": job.result,
    }


def build_status(build: Build, *, online: bool) -> dict[str, object]:
    """The body of `build_status`; `online` tells whether any engine takes jobs."""
    return {
        "build_id": build.id,
        "status": build.state,
        "total": build.total,
        "completed": build.completed,
        "failed": build.failed,
        "engine_online": online,
    }


def world_update(build: Build) -> dict[str, object]:
    """The body of `world_update`, due once when a build is completed.

    `world` and `scene` are those of the specification, in full: whoever shows the world needs its
    gravity, light and sky, and has nowhere else to ask.
    """
    specification = orjson.loads(build.world_text)
    return {
        "build_id": build.id,
        "world": specification["world"],
        "scene": specification["scene"],
        "artifact_url": artifact_url(build),
    }


def artifact_url(build: Build) -> str | None:
    """The path of the built file, or None while there is none."""
    return f"/api/builds/{build.id}/artifact/" if build.artifact else None


def thumbnail_url(build: Build) -> str | None:
    """The path of the picture, or None while there is none."""
    return f"/api/builds/{build.id}/thumbnail/" if build.thumbnail else None


def build_summary(build: Build, *, online: bool) -> dict[str, object]:
    """A build as lists show it: its status, its world, its artifact, its times."""
    body = build_status(build, online=online)
    body |= {
        "world": {"id": build.world_id, "name": build.world_name},
        "scene": {"id": build.scene_id},
        "priority": build.get_priority_display().lower(),
        "artifact_url": artifact_url(build),
        "thumbnail_url": thumbnail_url(build),
        "created_at": milliseconds(build.created_at),
        "started_at": milliseconds(build.started_at),
        "finished_at": milliseconds(build.finished_at),
    }
    if build.error_code:
        body["error"] = {"code": build.error_code, "message": build.error_message}
    return body


def build_snapshot(build: Build, jobs: Iterable[Job], *, online: bool) -> dict[str, object]:
    """A build with its jobs, as in `feed_snapshot`."""
    return {**build_summary(build, online=online), "jobs": [job_status(job) for job in jobs]}


def build_detail(build: Build) -> dict[str, object]:
    """A build with its current jobs, as HTTP shows it."""
    jobs = current_jobs([build]).get(build.id, [])
    return build_snapshot(build, jobs, online=engine_online())


def current_jobs(builds: Sequence[Build]) -> Mapping[str, list[Job]]:
    """Return the jobs that count now, by build, in their order; without payloads and results."""
    rows = Job.objects.filter(CURRENT, build__in=[build.id for build in builds])
    found: dict[str, list[Job]] = defaultdict(list)
    for job in rows.defer("payload", "result").order_by("build_id", "stage", "ordinal"):
        found[job.build_id].append(job)
    return found


def engine_online() -> bool:
    """Tell whether any engine takes jobs, now or when it has room again."""
    return EngineSession.objects.filter(ONLINE).exists()


def engine_status(*, now: datetime | None = None) -> dict[str, object]:
    """The body of `engine_status`: the latest connection of each engine, lost ones for an hour."""
    since = moment(now) - LOST_SHOWN_FOR
    rows = EngineSession.objects.filter(Q(closed_at__isnull=True) | Q(closed_at__gt=since))
    latest = {session.name: session for session in rows.order_by("connected_at")}
    live = live_jobs_by_engine()
    return {
        "online": any(_takes_jobs(session) for session in latest.values()),
        "engines": [_engine(latest[name], live.get(latest[name].id, 0)) for name in sorted(latest)],
        "waiting_jobs": Job.objects.filter(state="queued").count(),
    }


def _takes_jobs(session: EngineSession) -> bool:
    """As ``ONLINE``, for a row that was read."""
    return session.closed_at is None and session.state in TAKING_JOBS and session.capacity > 0


def live_jobs_by_engine() -> Mapping[str, int]:
    """Count the jobs that each engine connection holds; the cost is that of the live jobs only."""
    held = Job.objects.filter(state__in=LIVE_STATES).exclude(engine_session=None)
    counted = held.order_by().values_list("engine_session").annotate(Count("id"))
    return dict(counted)


def shown_state(session: EngineSession, live: int, now: datetime) -> str:
    """Return the state of an engine that holds so many jobs, by its last sign of life.

    The stored state may lag: nobody notes a silence while no process of the hub is there to.
    """
    quiet = now - session.last_seen_at
    if session.closed_at or quiet > timedelta(seconds=GONE_AFTER_S):
        return EngineSession.State.LOST.value
    if quiet > timedelta(seconds=SILENT_AFTER_S):
        return EngineSession.State.SILENT.value
    return session.state_with(live)


def _engine(session: EngineSession, live: int) -> dict[str, object]:
    return {
        "name": session.name,
        "state": session.state_with(live),
        "busy": live,
        "capacity": session.capacity,
        "last_seen": milliseconds(session.last_seen_at),
    }
