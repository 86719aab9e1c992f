"""What engines report of their jobs: each accepted once, and only from the attempt that holds it.

A report names its attempt, which is the fencing token. It is accepted by one conditional UPDATE on
(id, state, attempt, engine connection, lease); what that refuses is looked at again to say why.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, cast

import orjson
from django.db import transaction
from django.db.models import Q

from engine.brought import check_result
from engine.clock import moment
from engine.dispatch.moves import JobMoved, move
from engine.dispatch.refusal import Claim, duplicate_or_refused
from engine.dispatch.rows import lock_build_of
from engine.dispatch.settle import Ending, end_attempt, job_completed
from engine.leases import PROGRESS_EVERY_S, lease_s, longest_run_s
from engine.ledger import Ledger
from engine.models import Build, Job
from engine.outcome import Outcome
from engine.states import LIVE, Event, IllegalTransition, Reason, State
from engine.views import job_status
from engine.worldspec import JobType
from security.refusals import Refused

__all__ = [
    "MAX_RESULT_BYTES",
    "report_ack",
    "report_completed",
    "report_failed",
    "report_progress",
    "report_started",
]

MAX_RESULT_BYTES: Final = 64 * 1024
MAX_MESSAGE: Final = 500
ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def report_ack(
    session_id: str, job_id: str, attempt_id: str, *, now: datetime | None = None
) -> Outcome:
    """Note that the engine has the job. Changes no state: only the engine's start does.

    Raises `Refused`, as every report here: `JOB_UNKNOWN`, `JOB_NOT_YOURS`, `STALE_ATTEMPT`,
    `LEASE_EXPIRED`, `INVALID_TRANSITION`; then nothing was changed. A report that was accepted
    before is answered `{duplicate: true}`.
    """
    claim = Claim(session_id, job_id, attempt_id)
    with transaction.atomic():
        job = _job(claim)
        ledger = Ledger(moment(now))
        held = Job.objects.filter(claim.guard(ledger.now), pk=job_id, state=State.DISPATCHED.value)
        if not held.exists() or job.events.filter(event="ack", attempt_id=attempt_id).exists():
            return duplicate_or_refused(claim, State.DISPATCHED, ledger.now)
        ledger.job_noted(job, "ack")
        return ledger.close()


def report_started(
    session_id: str, job_id: str, attempt_id: str, *, now: datetime | None = None
) -> Outcome:
    """The engine began: the job runs, under a longer lease, until its longest run is over."""
    claim = Claim(session_id, job_id, attempt_id)
    with transaction.atomic():
        build, job = _locked(claim)
        ledger = Ledger(moment(now))
        until = ledger.now + _longest_run(job)
        changes = {
            "started_at": ledger.now,
            "run_until": until,
            "lease_expires_at": _running_lease(ledger.now, until),
        }
        if not _moved(claim, build, job, Event.START, ledger, changes):
            return duplicate_or_refused(claim, State.RUNNING, ledger.now)
        return ledger.close()


def report_progress(
    session_id: str, job_id: str, attempt_id: str, progress: object, *, now: datetime | None = None
) -> Outcome:
    """Renew the lease and show how far the job is: a whole number from 0 to 100, never less.

    Shown at most five times a second per job. Takes no lock but the job's row: progress decides
    nothing about the build. Also raises `Refused(PAYLOAD_INVALID)` for any other value.
    """
    claim = Claim(session_id, job_id, attempt_id)
    percent = _percent(progress)
    with transaction.atomic():
        job = _job(claim)
        ledger = Ledger(moment(now))
        due = _progress_is_due(job, ledger.now)
        changes: dict[str, object] = {"progress": percent}
        if job.run_until is not None:
            changes["lease_expires_at"] = _running_lease(ledger.now, job.run_until)
        if due:
            changes["progress_sent_at"] = ledger.now
        running = Q(pk=job_id, state=State.RUNNING.value, progress__lte=percent)
        if not Job.objects.filter(claim.guard(ledger.now), running).update(**changes):
            return _progress_refused(claim, percent, ledger.now)
        if due:
            job.progress = percent
            ledger.broadcast(job.build.user_id, "job_status", job_status(job))
        return ledger.close()


def report_completed(
    session_id: str, job_id: str, attempt_id: str, result: object, *, now: datetime | None = None
) -> Outcome:
    """Accept an engine's result: a JSON object of at most 64 KiB and 64 short names.

    The same result of the same attempt again is a duplicate, another one `CONFLICTING_COMPLETION`.
    """
    claim = Claim(session_id, job_id, attempt_id)
    value, digest = _result(result)
    with transaction.atomic():
        build, job = _locked(claim)
        ledger = Ledger(moment(now))
        changes = {"progress": 100, "result": value, "result_digest": digest}
        if not _moved(claim, build, job, Event.COMPLETE, ledger, changes):
            return duplicate_or_refused(claim, State.COMPLETED, ledger.now, digest=digest)
        job_completed(build, ledger)
        return ledger.close()


def report_failed(
    session_id: str, job_id: str, attempt_id: str, error: object, *, now: datetime | None = None
) -> Outcome:
    """The engine gave up: `error` is `{code, message, retryable}`. Also confirms a cancel."""
    claim = Claim(session_id, job_id, attempt_id)
    ending, digest = _failure(error)
    with transaction.atomic():
        build, job = _locked(claim)
        ledger = Ledger(moment(now))
        if not _holds(claim, job, ledger.now):
            return duplicate_or_refused(claim, State.FAILED, ledger.now, digest=digest)
        end_attempt(build, job, ending, ledger, changes={"result_digest": digest})
        return ledger.close()


# The job of a report


def _job(claim: Claim) -> Job:
    rows = Job.objects.select_related("engine_session", "build").defer("payload", "result")
    job = rows.filter(pk=claim.job_id).first()
    if job is None:
        raise Refused("JOB_UNKNOWN")
    return job


def _locked(claim: Claim) -> tuple[Build, Job]:
    """Return the job as it is under its build's lock."""
    build = lock_build_of(claim.job_id)
    if build is None:
        raise Refused("JOB_UNKNOWN")
    return build, _job(claim)


def _moved(
    claim: Claim,
    build: Build,
    job: Job,
    event: Event,
    ledger: Ledger,
    changes: Mapping[str, object],
) -> bool:
    """Move the job if this claim holds it and its state knows the event."""
    try:
        move(build, [job], event, ledger, guard=claim.guard(ledger.now), changes=changes)
    except (JobMoved, IllegalTransition):
        return False
    return True


def _holds(claim: Claim, job: Job, now: datetime) -> bool:
    """Tell whether the claim holds a live job; its state cannot change under the build's lock."""
    live = State(job.state) in LIVE
    return live and Job.objects.filter(claim.guard(now), pk=job.id).exists()


def _longest_run(job: Job) -> timedelta:
    return timedelta(seconds=longest_run_s(JobType(job.job_type), job.finish))


def _running_lease(now: datetime, until: datetime) -> datetime:
    """Return when a running job's lease ends: never after its longest run."""
    return min(now + timedelta(seconds=lease_s(State.RUNNING)), until)


# Progress


def _percent(progress: object) -> int:
    if type(progress) is not int or not 0 <= progress <= 100:  # noqa: PLR2004 - per cent; a bool is an int to isinstance
        raise Refused("PAYLOAD_INVALID", reason="progress is a whole number from 0 to 100")
    return progress


def _progress_is_due(job: Job, now: datetime) -> bool:
    sent = job.progress_sent_at
    return sent is None or now - sent >= timedelta(seconds=PROGRESS_EVERY_S)


def _progress_refused(claim: Claim, percent: int, now: datetime) -> Outcome:
    held = Job.objects.filter(claim.guard(now), pk=claim.job_id, state=State.RUNNING.value)
    if held.filter(progress__gt=percent).exists():
        raise Refused("PAYLOAD_INVALID", reason="progress never goes back within an attempt")
    return duplicate_or_refused(claim, None, now)


# Results and errors


def _result(result: object) -> tuple[dict[str, object], str]:
    if type(result) is not dict:
        raise Refused("PAYLOAD_INVALID", reason="the result is not an object")
    raw = _canonical(result)
    if len(raw) > MAX_RESULT_BYTES:
        raise Refused("PAYLOAD_INVALID", reason="the result is larger than 64 KiB")
    value = cast("dict[str, object]", result)
    check_result(value)
    return value, sha256(raw).hexdigest()


def _canonical(value: object) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise Refused("PAYLOAD_INVALID", reason="this is not a JSON value") from None


def _failure(error: object) -> tuple[Ending, str]:
    """Read an engine's error; its digest tells a repeated report from another one."""
    if type(error) is not dict or not set(error) <= {"code", "message", "retryable"}:
        raise Refused("PAYLOAD_INVALID", reason="the error is not {code, message, retryable}")
    code, message = error.get("code"), error.get("message", "")
    retryable = error.get("retryable", False)
    if type(code) is not str or not ERROR_CODE.fullmatch(code):
        raise Refused("PAYLOAD_INVALID", reason="the error's code is not a short ASCII word")
    if type(message) is not str or type(retryable) is not bool:
        raise Refused("PAYLOAD_INVALID", reason="the error's message or retryable has another type")
    ending = Ending(
        Reason.ENGINE_FAILED, code=code, message=message[:MAX_MESSAGE], retryable=retryable
    )
    return ending, sha256(_canonical(error)).hexdigest()
