"""Engines that come, announce themselves, beat, resume, drain and go.

Queued jobs are never touched by any of it. What an engine held when its connection closed stays
held until its lease is over, or until the same engine comes back and says what it still has.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import DateTimeField, F, Q, Value
from django.db.models.functions import Least

from engine.clock import moment
from engine.dispatch.announced import (
    Attempt,
    read_attempt_ids,
    read_attempts,
    read_capacity,
    read_job_types,
    read_version,
)
from engine.dispatch.rows import lock_engine, lock_jobs
from engine.dispatch.settle import Ending, end_attempt
from engine.ids import new_engine_session_id
from engine.leases import STARTS_WITHIN_S, lease_s
from engine.ledger import Ledger
from engine.models import LIVE_STATES, Build, EngineSession, Job
from engine.outcome import Outcome
from engine.states import FINAL, Reason, State
from security.models import ServiceAccount
from security.refusals import Refused

__all__ = [
    "CONNECTION_CLOSED",
    "CONNECTION_REPLACED",
    "engine_closed",
    "engine_connected",
    "engine_draining",
    "engine_ready",
    "engine_resume",
    "heartbeat",
    "process_stopped",
]

CONNECTION_REPLACED: Final = "connection_replaced"
CONNECTION_CLOSED: Final = "connection_closed"


def engine_connected(
    name: str, *, node: str, sid_hash: str, now: datetime | None = None
) -> Outcome:
    """Note a connection that has proved itself: its first message was authentic.

    Answers `{engine_session_id, replaced: [{engine_session_id, node}]}`: earlier connections of the
    same engine, which the caller closes with 4409.
    """
    with transaction.atomic():
        _lock_account(name)
        ledger = Ledger(moment(now))
        rows = EngineSession.objects.select_for_update(no_key=True)
        earlier = list(rows.filter(name=name, closed_at=None).order_by("id"))
        for session in earlier:
            _close(session, ledger)
        session = EngineSession.objects.create(
            id=new_engine_session_id(),
            name=name,
            node=node,
            sid_hash=sid_hash,
            connected_at=ledger.now,
            last_seen_at=ledger.now,
        )
        ledger.engines_changed()
        replaced = [{"engine_session_id": each.id, "node": each.node} for each in earlier]
        return ledger.close({"engine_session_id": session.id, "replaced": replaced})


def engine_ready(
    session_id: str,
    *,
    capacity: object,
    job_types: object,
    version: object = "",
    now: datetime | None = None,
) -> Outcome:
    """Take an engine's announcement: so many jobs at once, of these types.

    Raises `Refused`, as the others here: `PAYLOAD_INVALID`, or `TRY_AGAIN` for a connection that is
    over, with the reason `CONNECTION_REPLACED` or `CONNECTION_CLOSED`.
    """
    announced = {
        "capacity": read_capacity(capacity),
        "job_types": read_job_types(job_types),
        "version": read_version(version),
    }
    with transaction.atomic():
        session = _open(session_id)
        ledger = Ledger(moment(now))
        _save(session, draining=False, last_seen_at=ledger.now, **announced)
        _refresh_state(session, ledger)
        ledger.engines_changed()
        ledger.assignable()
        return ledger.close({"capacity": session.capacity, "job_types": session.job_types})


def engine_draining(session_id: str, *, now: datetime | None = None) -> Outcome:
    """Give an engine no new jobs; what it has, it may end."""
    with transaction.atomic():
        session = _open(session_id)
        ledger = Ledger(moment(now))
        _save(session, draining=True, last_seen_at=ledger.now)
        _refresh_state(session, ledger)
        ledger.engines_changed()
        ledger.assignable()  # builds that stayed with it may move
        return ledger.close()


def engine_closed(session_id: str, *, now: datetime | None = None) -> Outcome:
    """Note that a connection is gone. Its jobs stay until their leases are over."""
    with transaction.atomic():
        session = lock_engine(session_id)
        if session is None:
            return Outcome()
        ledger = Ledger(moment(now))
        _close(session, ledger)
        ledger.assignable()
        return ledger.close()


def process_stopped(node: str, *, now: datetime | None = None) -> Outcome:
    """Note that a process of the hub ends, and with it each connection that it still has.

    As `engine_closed` for all of them: what is noted one by one may not be done in time.
    """
    with transaction.atomic():
        ledger = Ledger(moment(now))
        rows = EngineSession.objects.select_for_update(no_key=True)
        for session in rows.filter(node=node, closed_at=None).order_by("id"):
            _close(session, ledger)
        return ledger.close()


def heartbeat(session_id: str, attempts: object, *, now: datetime | None = None) -> Outcome:
    """Renew the leases of the listed attempts: ids, or objects that have an `attempt_id`.

    Answers `{renewed, stale}`: how many, and the listed ones that this connection does not hold.
    """
    listed = read_attempt_ids(attempts)
    with transaction.atomic():
        session = _open(session_id)
        ledger = Ledger(moment(now))
        _save(session, last_seen_at=ledger.now)
        held = _renew(session, listed, ledger.now)
        _refresh_state(session, ledger)
        stale = sorted(set(listed) - held)
        return ledger.close({"renewed": len(held), "stale": stale})


def engine_resume(session_id: str, attempts: object, *, now: datetime | None = None) -> Outcome:
    """Bind the attempts that an engine still has to its new connection.

    `attempts` is `[{job_id, attempt_id}]`. Those with a live lease are bound, everything else
    listed is aborted, and what an earlier connection held and is not listed is released at once.
    Answers `{resumed: [job_id]}`.
    """
    listed = read_attempts(attempts)
    with transaction.atomic():
        session = _open(session_id)
        ledger = Ledger(moment(now))
        _save(session, last_seen_at=ledger.now)
        resumed = _resume_builds(session, listed, ledger)
        _abort_unknown(session, listed, ledger)
        _refresh_state(session, ledger)
        ledger.engines_changed()
        return ledger.close({"resumed": resumed})


# Connections


def _lock_account(name: str) -> None:
    """Let two connections of an engine prove themselves one after another.

    At once, neither would see the other as the earlier one, and an engine has one that is open.
    """
    accounts = ServiceAccount.objects.select_for_update(no_key=True)
    accounts.filter(kind="engine", name=name).first()


def _open(session_id: str) -> EngineSession:
    session = lock_engine(session_id)
    if session is None:
        raise Refused("TRY_AGAIN", reason=_why_over(session_id))
    return session


def _why_over(session_id: str) -> str:
    """Tell apart who was replaced from who was given up: only the latter is to come back."""
    name = EngineSession.objects.filter(pk=session_id).values("name")
    newer = EngineSession.objects.filter(name__in=name, closed_at=None)
    return CONNECTION_REPLACED if newer.exists() else CONNECTION_CLOSED


def _save(session: EngineSession, **fields: object) -> None:
    for name, value in fields.items():
        setattr(session, name, value)
    session.save(update_fields=list(fields))


def _close(session: EngineSession, ledger: Ledger) -> None:
    _save(session, state=EngineSession.State.LOST, closed_at=ledger.now)
    ledger.engines_changed()


def _refresh_state(session: EngineSession, ledger: Ledger) -> None:
    """Store the state of an engine that was just heard of: what it said, and what it holds."""
    live = Job.objects.filter(engine_session=session, state__in=LIVE_STATES).count()
    before = session.state
    session.state = EngineSession.State.READY
    session.state = session.state_with(live)
    if session.state != before:
        session.save(update_fields=["state"])
        ledger.engines_changed()
        ledger.assignable()


# Leases


def _renew(session: EngineSession, listed: Collection[str], now: datetime) -> set[str]:
    """Renew what this connection holds of the listed attempts; return those.

    What it has not begun in all this time is left to lapse, and is then for another engine.

    A job whose row another transaction has locked is left to that one: it is a report, which renews
    or ends the lease itself. Waiting for it, with other jobs locked and their builds not, could
    wait in a circle: who fails a build locks one of its jobs first and then the rest.
    """
    held = Job.objects.filter(
        engine_session=session,
        attempt_id__in=listed,
        state__in=LIVE_STATES,
        lease_expires_at__gt=now,
    ).exclude(
        state=State.DISPATCHED.value, dispatched_at__lte=now - timedelta(seconds=STARTS_WITHIN_S)
    )
    attempts = set(held.values_list("attempt_id", flat=True))
    _extend(lock_jobs(held, skip_locked=True), now)
    return attempts


def _extend(jobs: Iterable[Job], now: datetime, **changes: object) -> None:
    """Let the leases of live jobs that are locked begin anew, each up to its longest run."""
    ids = [job.id for job in jobs]
    for state in (State.DISPATCHED, State.RUNNING):
        fresh = Value(now + timedelta(seconds=lease_s(state)), output_field=DateTimeField())
        until = Least(fresh, F("run_until")) if state is State.RUNNING else fresh
        rows = Job.objects.filter(pk__in=ids, state=state.value)
        rows.update(lease_expires_at=until, **changes)


# Resuming


def _resume_builds(
    session: EngineSession, listed: Collection[Attempt], ledger: Ledger
) -> list[str]:
    """Decide about everything that earlier connections of the engine hold; return what is bound."""
    earlier = Q(engine_session__name=session.name, state__in=LIVE_STATES)
    earlier &= ~Q(engine_session=session)
    build_ids = set(Job.objects.filter(earlier).values_list("build_id", flat=True))
    builds = Build.objects.select_for_update(no_key=True).filter(pk__in=build_ids).order_by("id")
    resumed = []
    for build in list(builds):
        for job in lock_jobs(Job.objects.filter(earlier, build=build)):
            if _bound(session, job, listed, ledger):
                resumed.append(job.id)
            elif (job.id, job.attempt_id) not in listed and State(build.state) not in FINAL:
                end_attempt(build, job, Ending(Reason.ENGINE_LOST, lost=True), ledger)
    return resumed


def _bound(session: EngineSession, job: Job, listed: Collection[Attempt], ledger: Ledger) -> bool:
    """Bind a job to the new connection if the engine still has it and its lease is live."""
    live = job.lease_expires_at is not None and job.lease_expires_at > ledger.now
    if not live or (job.id, job.attempt_id) not in listed:
        return False
    _extend([job], ledger.now, engine_session=session)
    job.engine_session = session
    ledger.job_noted(job, "resume")
    if job.cancel_requested:  # the first word of it may have gone down with the connection
        ledger.abort(job, Reason.CANCELLED.value)
    return True


def _abort_unknown(session: EngineSession, listed: Collection[Attempt], ledger: Ledger) -> None:
    """Tell the engine to drop what it listed and does not hold."""
    held = set(
        Job.objects.filter(engine_session=session, state__in=LIVE_STATES).values_list(
            "id", "attempt_id"
        )
    )
    for attempt in listed:
        if attempt not in held:
            ledger.deliver(session, "job_abort", {**attempt._asdict(), "reason": "not_held"})
