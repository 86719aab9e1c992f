"""What one transaction does, kept until its end: histories and feed rows are then written together.

Feed counters are the last locks of a transaction and are taken in the order of the people's ids,
so events are collected while jobs move and appended when everything else is decided.
"""

from collections import defaultdict
from datetime import datetime

from engine import feed, views
from engine.models import Build, EngineSession, Job, JobEvent
from engine.outcome import Body, Broadcast, Delivery, Outcome

__all__ = ["Ledger"]


class Ledger:
    """Collects the effects of one transaction at the moment `now`; `close` writes them down."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._events: list[JobEvent] = []
        self._feed: dict[int, list[feed.Draft]] = defaultdict(list)
        self._deliveries: list[Delivery] = []
        self._broadcasts: list[Broadcast] = []
        self._online: bool | None = None
        self._changed_engines = False
        self._assignable = False

    def job_moved(
        self, job: Job, event: str, *, from_state: str, detail: Body | None = None
    ) -> None:
        """Note a move of a job, after it was made, in its history."""
        self._events.append(
            JobEvent(
                job_id=job.id,
                at=self.now,
                event=event,
                from_state=from_state,
                to_state=job.state,
                attempt=job.attempt,
                attempt_id=job.attempt_id,
                engine=job.engine_session.name if job.engine_session else "",
                detail=dict(detail or {}),
            )
        )

    def job_noted(self, job: Job, event: str, detail: Body | None = None) -> None:
        """Note something about a job that left it in its state."""
        self.job_moved(job, event, from_state=job.state, detail=detail)

    def tell_job(self, user_id: int, job: Job) -> None:
        """Tell the owner a job's state; that it waits (again) is told to live sockets only."""
        if job.state == "queued":
            self.broadcast(user_id, "job_status", views.job_status(job))
        else:
            self.tell(user_id, "job_status", views.job_status(job))

    def tell_build(self, build: Build) -> None:
        """Tell the owner a build's state and counts."""
        self.tell(build.user_id, "build_status", views.build_status(build, online=self.online))

    def tell(self, user_id: int, event: str, body: Body, *, once: str = "") -> None:
        """Append an event to a person's feed; with `once`, only the first of that key."""
        self._feed[user_id].append(feed.Draft(event, body, once))

    def broadcast(self, user_id: int, event: str, body: Body) -> None:
        """Show an event to a person's live sockets, without keeping it."""
        self._broadcasts.append(Broadcast(user_id, event, body))

    def deliver(self, session: EngineSession | None, event: str, body: Body) -> None:
        """Send an event to an engine, if its connection is still open."""
        if session is not None and session.closed_at is None:
            self._deliveries.append(Delivery(session.id, session.node, event, body))

    def abort(self, job: Job, reason: str) -> None:
        """Tell the engine that holds a job's latest attempt to drop it."""
        body = {"job_id": job.id, "attempt_id": job.attempt_id, "reason": reason}
        self.deliver(job.engine_session, "job_abort", body)

    def engines_changed(self) -> None:
        """Note that what is shown of the engines changed."""
        self._changed_engines = True

    def assignable(self) -> None:
        """Note that a job or a place on an engine became free."""
        self._assignable = True

    @property
    def online(self) -> bool:
        """Whether any engine takes jobs, asked once per transaction."""
        if self._online is None:
            self._online = views.engine_online()
        return self._online

    def close(self, reply: Body | None = None) -> Outcome:
        """Write histories and feeds, in the caller's transaction, and return all effects."""
        JobEvent.objects.bulk_create(self._events)
        heads = {
            user_id: feed.append_all(user_id, self._feed[user_id], now=self.now)
            for user_id in sorted(self._feed)
        }
        return Outcome(
            reply=reply or {},
            deliveries=tuple(self._deliveries),
            broadcasts=tuple(self._broadcasts),
            feed_heads=heads,
            engines_changed=self._changed_engines,
            assignable=self._assignable,
        )
