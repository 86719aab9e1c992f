"""Giving queued jobs to engines with room: pulled by announced capacity, fair between people."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Final

import orjson
from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from engine.adapter import JobRefused, check_job
from engine.clock import milliseconds, moment
from engine.dispatch.control import is_paused
from engine.dispatch.moves import move
from engine.dispatch.rows import OPEN_STATES, lock_builds_at_rest, lock_jobs
from engine.dispatch.settle import Ending, fail_build, move_build
from engine.ids import new_attempt_id
from engine.leases import lease_s, longest_run_s
from engine.ledger import Ledger
from engine.models import LIVE_STATES, Build, EngineSession, Job
from engine.outcome import Outcome
from engine.states import BuildEvent, Event, Reason, State
from engine.views import ONLINE, live_jobs_by_engine
from engine.worldspec import JobType

__all__ = ["INLINE_SPEC_BYTES", "assign"]

INLINE_SPEC_BYTES: Final = 64 * 1024
"""A larger specification is named by its SHA-256, and fetched by an engine that lacks it."""

BUILDS_AT_ONCE: Final = 500  # considered by one call, the most urgent and oldest first


def assign(now: datetime | None = None, limit: int = 100) -> Outcome:
    """Dispatch at most `limit` queued jobs to engines with room.

    Order: priority, then who has the fewest jobs at engines, then stage, then submission. A build
    stays with its engine while that takes jobs. Nothing while staff have paused dispatch.
    Deliveries hold one `engine_job` per dispatch.
    """
    if not _glance():
        return Outcome()
    with transaction.atomic():
        engines = _Engines.locked()
        at = moment(now)
        shares = _choose(engines, at, limit)
        ledger = Ledger(at)
        for build in _lock_builds(shares):
            _dispatch_build(build, shares[build.id].picks, ledger)
        return ledger.close()


def _glance() -> bool:
    """Tell, without a transaction, whether there may be something to do: mostly there is not."""
    return (
        EngineSession.objects.filter(ONLINE).exists()
        and not is_paused()
        and Job.objects.filter(state=State.QUEUED.value, ready=True).exists()
    )


# Who gets what


@dataclass(frozen=True, slots=True)
class _Engines:
    """The engines that take jobs: locked connections, room of each; of all, the types they take."""

    sessions: Sequence[EngineSession]
    room: dict[str, int]
    takes: Mapping[str, Sequence[str]]

    @classmethod
    def locked(cls) -> "_Engines":
        """Lock the engines that no other process is giving jobs to right now."""
        takes = dict(EngineSession.objects.filter(ONLINE).values_list("name", "job_types"))
        rows = EngineSession.objects.select_for_update(skip_locked=True, no_key=True)
        sessions = list(rows.filter(ONLINE).order_by("id"))
        live = live_jobs_by_engine()
        room = {each.id: each.capacity - live.get(each.id, 0) for each in sessions}
        return cls(sessions, room, takes)

    def place(self, engine_name: str, job_type: str) -> EngineSession | None:
        """Take a place for a job whose build may be bound to an engine; None if there is none."""
        bound = job_type in self.takes.get(engine_name, ())
        fit = [
            each
            for each in self.sessions
            if self.room[each.id] > 0
            and job_type in each.job_types
            and (each.name == engine_name or not bound)
        ]
        if not fit:
            return None
        chosen = max(fit, key=lambda each: self.room[each.id])
        self.room[chosen.id] -= 1
        return chosen

    @property
    def full(self) -> bool:
        """Whether no engine has room."""
        return all(room <= 0 for room in self.room.values())


@dataclass(slots=True)
class _Candidate:
    """A build with jobs that may be dispatched, and the person whose turn it may be."""

    build: Build
    jobs: Iterator[tuple[str, str]]
    engine_name: str

    def turn(self, running: Mapping[int, int]) -> tuple[int, int, int, datetime, str]:
        """Return the sort key: the least goes first."""
        build = self.build
        stage: int = getattr(build, "stage", 0)
        return -build.priority, running[build.user_id], stage, build.created_at, build.id


_Pick = tuple[str, EngineSession]


@dataclass(slots=True)
class _Share:
    """What a build is to get, and the engine it was bound to when that was decided."""

    bound_to: str
    picks: list[_Pick]


def _choose(engines: _Engines, now: datetime, limit: int) -> Mapping[str, _Share]:
    """Pick jobs and engines for them, by build. Nothing is locked yet but the engines."""
    running = _running_by_person()
    candidates = {build.id: _candidate(build, now, limit) for build in _builds(engines, now)}
    turns = [each.turn(running) for each in candidates.values()]
    heapify(turns)
    shares: dict[str, _Share] = {}
    while turns and limit and not engines.full:
        turn = heappop(turns)
        candidate = candidates[turn[-1]]
        if turn != candidate.turn(running):  # its person got a job meanwhile: back in the line
            heappush(turns, candidate.turn(running))
        elif pick := _next_pick(candidate, engines):
            share = _Share(candidate.build.engine_name, [])
            shares.setdefault(candidate.build.id, share).picks.append(pick)
            running[candidate.build.user_id] += 1
            limit -= 1
            heappush(turns, candidate.turn(running))
    return shares


def _next_pick(candidate: _Candidate, engines: _Engines) -> _Pick | None:
    """Return the build's next job with an engine for it; None ends the build's turns."""
    job_id, job_type = next(candidate.jobs, ("", ""))
    engine = engines.place(candidate.engine_name, job_type) if job_id else None
    if engine is None:
        return None
    candidate.engine_name = engine.name
    return job_id, engine


def _running_by_person() -> dict[int, int]:
    live = Job.objects.filter(state__in=LIVE_STATES).order_by().values_list("build__user_id")
    return defaultdict(int, dict(live.annotate(Count("id"))))


def _may_go(now: datetime) -> Q:
    return Q(state=State.QUEUED.value, ready=True) & (
        Q(not_before__isnull=True) | Q(not_before__lte=now)
    )


def _builds(engines: _Engines, now: datetime) -> QuerySet[Build]:
    """The builds with a job to dispatch, without those whose own engine has no room."""
    have_room = {each.name for each in engines.sessions if engines.room[each.id] > 0}
    first = Job.objects.filter(_may_go(now), build=OuterRef("pk")).order_by("stage", "ordinal")
    waiting = Build.objects.filter(state__in=OPEN_STATES).exclude(
        engine_name__in=engines.takes.keys() - have_room
    )
    ready = waiting.annotate(stage=Subquery(first.values("stage")[:1])).filter(stage__isnull=False)
    return ready.defer("world_text").order_by("-priority", "created_at", "id")[:BUILDS_AT_ONCE]


def _candidate(build: Build, now: datetime, limit: int) -> _Candidate:
    """Prepare a build; its jobs are read when its turn comes."""

    def jobs() -> Iterator[tuple[str, str]]:
        rows = Job.objects.filter(_may_go(now), build=build).order_by("stage", "ordinal")
        yield from rows.values_list("id", "job_type")[:limit]

    return _Candidate(build, jobs(), build.engine_name)


# Dispatching


def _lock_builds(shares: Mapping[str, _Share]) -> list[Build]:
    """Lock the builds that still are as they were; one that is busy waits for the next call.

    Another process may have bound a build to an engine meanwhile: then it stays with that one.
    """
    builds = lock_builds_at_rest(shares)
    return [each for each in builds if each.engine_name == shares[each.id].bound_to]


def _dispatch_build(build: Build, picks: Sequence[_Pick], ledger: Ledger) -> None:
    """Dispatch the picked jobs of a locked build, as far as they still wait."""
    engines = dict(picks)
    waiting = Job.objects.filter(pk__in=engines, state=State.QUEUED.value, ready=True)
    for job in lock_jobs(waiting):
        if not _check(build, job, ledger):
            return
        _dispatch(build, job, engines[job.id], ledger)


def _check(build: Build, job: Job, ledger: Ledger) -> bool:
    """Validate a stored job once more; one that is not as it was made fails with its build."""
    try:
        check_job(job.job_type, job.payload)
    except JobRefused as refused:
        ending = Ending(Reason.ENGINE_FAILED, code="job_refused", message=str(refused)[:500])
        fail_build(build, ending, ledger)
        return False
    return True


def _dispatch(build: Build, job: Job, engine: EngineSession, ledger: Ledger) -> None:
    changes = {
        "attempt": job.attempt + 1,
        "attempt_id": new_attempt_id(),
        "engine_session": engine,
        "lease_expires_at": ledger.now + timedelta(seconds=lease_s(State.DISPATCHED)),
        "dispatched_at": ledger.now,
        "not_before": None,
        "result_digest": "",
    }
    move(build, [job], Event.DISPATCH, ledger, changes=changes)
    if build.state == State.QUEUED.value or build.engine_name != engine.name:
        _bind(build, engine, ledger)
    ledger.deliver(engine, "engine_job", _engine_job(build, job))


def _bind(build: Build, engine: EngineSession, ledger: Ledger) -> None:
    """Let a build stay with an engine; its first dispatch is its start."""
    build.engine_name = engine.name
    if build.state == State.QUEUED.value:
        move_build(build, BuildEvent.START, ledger)
    else:
        build.save(update_fields=["engine_name"])


def _engine_job(build: Build, job: Job) -> dict[str, object]:
    """The body of `engine_job` (docs/wire.md)."""
    return {
        "job_id": job.id,
        "attempt_id": job.attempt_id,
        "job_type": job.job_type,
        "payload": job.payload,
        "world_spec": _inline_spec(build, job),
        "execution_params": {
            "priority": build.get_priority_display().lower(),
            "timeout_ms": longest_run_s(JobType(job.job_type), job.finish) * 1000,
            "lease_ms": lease_s(State.DISPATCHED) * 1000,
            "finish": job.finish,
        },
        "build_id": build.id,
        "world_sha256": build.world_sha256,
        "submitted_at": milliseconds(build.created_at),
        "user_id": str(build.user_id),
    }


def _inline_spec(build: Build, job: Job) -> object:
    """Return the specification where it travels with the job: at the beginning and at the end."""
    wanted = job.finish or job.job_type == JobType.BUILD_SCENE.value
    if not wanted or len(build.world_text.encode()) > INLINE_SPEC_BYTES:
        return None
    return orjson.loads(build.world_text)
