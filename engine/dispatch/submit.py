"""Submitting a world and opening a failed build again: where jobs come into being."""

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import transaction

from engine.adapter import AdmittedWorld
from engine.artifacts import kept_bytes
from engine.clock import moment
from engine.dispatch.rows import OPEN_STATES, lock_build_of
from engine.dispatch.settle import move_build, open_next_stage
from engine.ids import new_build_id, new_job_id
from engine.ledger import Ledger
from engine.models import Build, Job, Priority
from engine.outcome import Body, Outcome
from engine.states import BuildEvent, State
from security.conf import hub
from security.refusals import Refused

__all__ = ["refuse", "retry_job", "submit"]


def submit(
    user_id: int,
    world: AdmittedWorld,
    *,
    request_id: str | None = None,
    priority: str = "normal",
    staff: bool = False,
    now: datetime | None = None,
) -> Outcome:
    """Accept a world: store a build with its jobs and answer `{build_id, jobs}`.

    The same `request_id` again gives the first build, and changes nothing. Raises `Refused`:
    `conflict` (that request was for another world), `forbidden` (high priority is for staff),
    `payload_invalid` (no such priority), `quota_exceeded`.
    """
    level = _priority(priority, staff=staff)
    with transaction.atomic():
        _lock_person(user_id)
        first = _build_of_request(user_id, request_id)
        if first is not None:
            return Outcome(reply=_same_request(first, world))
        check_quotas(user_id, jobs=len(world.jobs))
        ledger = Ledger(moment(now))
        build, jobs = _store(user_id, world, request_id, level, ledger.now)
        open_next_stage(build)
        ledger.tell_build(build)
        ledger.assignable()
        return ledger.close(_reply(build, jobs))


def refuse(user_id: int, body: Body, *, now: datetime | None = None) -> Outcome:
    """Keep a refusal in the person's feed, as `job_error {error, message, path?, request_id?}`."""
    with transaction.atomic():
        ledger = Ledger(moment(now))
        ledger.tell(user_id, "job_error", body)
        return ledger.close()


def retry_job(
    user_id: int, job_id: str, *, staff: bool = False, now: datetime | None = None
) -> Outcome:
    """Open a failed build again: a new job for every failed one of it, answered as by `submit`.

    Raises `Refused`: `not_found` (also for another's job), `conflict` (the job did not fail, or was
    retried already), `quota_exceeded`.
    """
    with transaction.atomic():
        owner = Build.objects.filter(jobs=job_id).values_list("user_id", flat=True).first()
        if owner is None or (owner != user_id and not staff):
            raise Refused("not_found", reason="no such job of this person")
        _lock_person(owner)
        build = lock_build_of(job_id)
        if build is None:
            raise Refused("not_found", reason="the build was removed meanwhile")
        failed = _failed_jobs(build, job_id)
        check_quotas(owner, jobs=len(failed))
        ledger = Ledger(moment(now))
        again = _reopen(build, failed, ledger)
        return ledger.close(_reply(build, again))


# Quotas


def check_quotas(user_id: int, *, jobs: int) -> None:
    """Raise `Refused(quota_exceeded)` unless one more build with so many jobs may be open."""
    limits = hub()
    builds = Build.objects.filter(user_id=user_id, state__in=OPEN_STATES).count()
    if builds >= limits.builds_in_flight:
        raise Refused("quota_exceeded", reason="builds_in_flight", detail={"builds": builds})
    waiting = Job.objects.filter(
        build__user_id=user_id,
        build__state__in=OPEN_STATES,  # says nothing new, but leaves the ended builds unread
        state__in=OPEN_STATES,
    ).count()
    if waiting + jobs > limits.queued_jobs:
        raise Refused("quota_exceeded", reason="queued_jobs", detail={"jobs": waiting + jobs})
    kept = kept_bytes(user_id)
    if kept >= limits.artifact_bytes:  # what it built could not be kept
        raise Refused("quota_exceeded", reason="artifact_bytes", detail={"kept": kept})


def _lock_person(user_id: int) -> None:
    """Take a person's submissions one after another, or two at once would both fit the quota."""
    get_user_model().objects.select_for_update(no_key=True).get(pk=user_id)


def _priority(name: str, *, staff: bool) -> Priority:
    try:
        level = Priority[name.upper()]
    except KeyError:
        raise Refused("payload_invalid", reason="unknown priority") from None
    if level is Priority.HIGH and not staff:
        raise Refused("forbidden", reason="high priority is for staff")
    return level


# Storing


def _build_of_request(user_id: int, request_id: str | None) -> Build | None:
    if request_id is None:
        return None
    return Build.objects.filter(user_id=user_id, request_id=request_id).first()


def _same_request(build: Build, world: AdmittedWorld) -> Body:
    if build.world_sha256 != world.sha256:
        raise Refused("conflict", reason="this request_id was used for another world")
    jobs = Job.objects.filter(build=build, opening=1)
    return _reply(build, jobs.only("job_type", "stage", "ordinal"))


def _store(
    user_id: int,
    world: AdmittedWorld,
    request_id: str | None,
    priority: Priority,
    now: datetime,
) -> tuple[Build, list[Job]]:
    build = Build.objects.create(
        id=new_build_id(),
        user_id=user_id,
        request_id=request_id,
        world_text=world.text,
        world_sha256=world.sha256,
        world_id=world.spec["world"]["id"],
        world_name=world.spec["world"]["name"],
        scene_id=world.spec["scene"]["id"],
        priority=priority,
        total=len(world.jobs),
        created_at=now,
    )
    jobs = Job.objects.bulk_create(
        Job(
            id=new_job_id(),
            build=build,
            job_type=planned.job_type.value,
            stage=planned.stage,
            ordinal=ordinal,
            payload=planned.payload,
            finish=planned.finish,
            priority=priority,
            queued_at=now,
        )
        for ordinal, planned in enumerate(world.jobs)
    )
    return build, jobs


def _failed_jobs(build: Build, job_id: str) -> list[Job]:
    """Return the failed jobs of the build's latest opening, of which `job_id` must be one."""
    rows = Job.objects.filter(build=build, opening=build.opening, state=State.FAILED.value)
    failed = list(rows.order_by("stage", "ordinal"))
    if build.state != State.FAILED.value or job_id not in {job.id for job in failed}:
        raise Refused("conflict", reason="the job did not fail, or was retried already")
    return failed


def _reopen(build: Build, failed: list[Job], ledger: Ledger) -> list[Job]:
    """Put new jobs in the place of the failed ones. The finishing job is always among them."""
    build.opening += 1
    build.failed = 0
    build.cancel_requested = False
    build.error_code = build.error_message = ""
    again = Job.objects.bulk_create(
        Job(
            id=new_job_id(),
            build=build,
            opening=build.opening,
            job_type=old.job_type,
            stage=old.stage,
            ordinal=old.ordinal,
            payload=old.payload,
            finish=old.finish,
            priority=build.priority,
            retry_of=old,
            queued_at=ledger.now,
        )
        for old in failed
    )
    move_build(build, BuildEvent.REOPEN, ledger)
    open_next_stage(build)
    ledger.assignable()
    return again


def _reply(build: Build, jobs: Iterable[Job]) -> Body:
    shown = [
        {"job_id": job.id, "job_type": job.job_type, "stage": job.stage}
        for job in sorted(jobs, key=lambda job: job.ordinal)
    ]
    return {"build_id": build.id, "jobs": shown}
