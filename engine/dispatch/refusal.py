"""Why a report was not accepted: repeated, too late, or never its engine's to make."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from engine.models import EngineSession, Job, JobEvent
from engine.outcome import Outcome
from engine.states import Reason, State
from security.refusals import Refused

__all__ = ["Claim", "duplicate_or_refused"]

TAKEN_AWAY = frozenset(
    {Reason.LEASE_LAPSED.value, Reason.ENGINE_LOST.value, Reason.RAN_TOO_LONG.value}
)

DUPLICATE = Outcome(reply={"duplicate": True})

# The states in which a report that leads to the first was accepted before.
_REPEATED_IN = {
    State.DISPATCHED: ("dispatched", "running"),
    State.RUNNING: ("running",),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """An engine connection's word that it holds an attempt of a job."""

    session_id: str
    job_id: str
    attempt_id: str

    def guard(self, now: datetime) -> Q:
        """The condition under which the word is true: this attempt, this connection, its lease."""
        return Q(
            attempt_id=self.attempt_id, engine_session=self.session_id, lease_expires_at__gt=now
        )


def duplicate_or_refused(
    claim: Claim, reported: State | None, now: datetime, *, digest: str = ""
) -> Outcome:
    """Look again at a job whose report was not accepted.

    Answers `{duplicate: true}` if the same attempt reported the same before: `reported` is the
    state that the report leads to, None for one that is never a duplicate. Else raises `Refused`.
    """
    job = Job.objects.select_related("engine_session").get(pk=claim.job_id)
    _refuse_other_attempts(claim, job)
    if digest and _has_ended_so(job, reported, digest):
        return DUPLICATE
    _refuse_another_connection(claim, job)
    if _lease_is_over(job, now):
        raise _refused("LEASE_EXPIRED", job)
    if reported is not None and job.state in _REPEATED_IN.get(reported, ()):
        return DUPLICATE
    raise _refused("INVALID_TRANSITION", job)


def _refuse_other_attempts(claim: Claim, job: Job) -> None:
    if job.attempt_id == claim.attempt_id:
        if _engine_of(claim) != _holder(job):
            raise _refused("JOB_NOT_YOURS")
    elif _engine_of(claim) == _holder(job) or _once_held(claim):
        raise _refused("STALE_ATTEMPT")
    else:
        raise _refused("JOB_NOT_YOURS")


def _has_ended_so(job: Job, reported: State | None, digest: str) -> bool:
    """Tell whether the attempt ended by this very report; raises for an end by another result."""
    if job.state == reported == State.COMPLETED and job.result_digest != digest:
        raise _refused("CONFLICTING_COMPLETION", job)
    # A failure that may be tried again left the job in the queue, with the digest of its report.
    ends = {State.COMPLETED: {"completed"}, State.FAILED: {"failed", "queued"}}
    return reported in ends and job.state in ends[reported] and job.result_digest == digest


def _refuse_another_connection(claim: Claim, job: Job) -> None:
    """The same engine, but the attempt is not bound to this connection: it was not resumed."""
    if job.engine_session_id != claim.session_id:
        raise _refused("JOB_NOT_YOURS")


def _lease_is_over(job: Job, now: datetime) -> bool:
    if job.lease_expires_at is not None:
        return job.lease_expires_at <= now
    taken_back = job.state == State.QUEUED.value and not job.result_digest
    return taken_back or job.error_code in TAKEN_AWAY


def _engine_of(claim: Claim) -> str:
    rows = EngineSession.objects.filter(pk=claim.session_id)
    return rows.values_list("name", flat=True).first() or ""


def _holder(job: Job) -> str | None:
    return job.engine_session.name if job.engine_session else None


def _once_held(claim: Claim) -> bool:
    return JobEvent.objects.filter(
        job=claim.job_id, attempt_id=claim.attempt_id, engine=_engine_of(claim)
    ).exists()


def _refused(code: str, job: Job | None = None) -> Refused:
    """A refusal with what its engine may know: only of a job that is its own."""
    facts = {} if job is None else {"status": job.state, "attempt": job.attempt}
    return Refused(code, public=facts)
