"""The attempts that are alive in this engine, each run once however often the hub delivers it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from engine.sdk.attempt import ABORTED, Attempt, Outcome, Workshop
from engine.sdk.errors import AttemptOver, BadMessage, ReportRefused
from engine.sdk.job import Job

__all__ = ["Roster"]

log = logging.getLogger("engine.sdk")

SUPERSEDED: Final = "superseded"
LOST: Final = "lease_lost"
REMEMBERED_OUTCOMES: Final = 256  # a late second delivery of an ended attempt gets the same answer


class Roster:
    """Takes jobs in and knows what is going on. Its methods never raise for what the hub sends.

    The number of live attempts is the hub's to keep (it knows the capacity); should it send more,
    they wait for a free slot.
    """

    def __init__(self, workshop: Workshop, *, refuse: Callable[[str], None]) -> None:
        self._workshop = workshop
        self._refuse = refuse
        self._attempts: dict[str, Attempt] = {}
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        self.idle.set()

    def deliver(self, event: str, body: dict[str, Any]) -> None:
        """Act on an authentic message of the hub."""
        try:
            if event == "engine_job":
                self._take(Job.from_wire(body))
            elif event == "job_abort":
                self._abort(body)
            elif event == "heartbeat_ack":
                self._lose(body.get("stale"))
        except BadMessage as fault:
            log.warning("%s: %s", event, fault, extra={"action": "engine.bad_message"})
            self._refuse(fault.reason)

    def live(self) -> list[dict[str, str]]:
        """Return the ids of the attempts that still need their leases."""
        return [attempt.job.name for attempt in self._attempts.values() if attempt.wanted]

    def cancel_all(self, code: str) -> None:
        """Stop all work; each attempt still tells the hub so."""
        for attempt in self._attempts.values():
            attempt.cancel(code)

    async def close(self) -> None:
        """Drop all attempts without another word to the hub, and wait for their handlers to end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, job: Job) -> None:
        if attempt := self._attempts.get(job.attempt_id):
            self._start(attempt.acknowledge_again())
        elif outcome := self._outcomes.get(job.attempt_id):
            self._start(self._repeat(job, outcome))
        else:
            self._supersede(job.job_id)
            self._attempts[job.attempt_id] = attempt = Attempt(job, self._workshop)
            self.idle.clear()
            self._start(self._live(attempt))

    def _abort(self, body: Mapping[str, Any]) -> None:
        attempt = self._attempts.get(str(body.get("attempt_id")))
        if attempt is not None:
            attempt.cancel(ABORTED, str(body.get("reason", "")))

    def _lose(self, stale: object) -> None:
        """Stop the attempts that this connection does not hold: their leases are over."""
        for name in stale if isinstance(stale, list) else ():
            if isinstance(name, str) and name in self._attempts:
                self._attempts[name].cancel(LOST)

    def _supersede(self, job_id: str) -> None:
        """Stop earlier attempts at a job: that the hub made a new one means that they lost it."""
        for attempt in self._attempts.values():
            if attempt.job.job_id == job_id:
                attempt.cancel(SUPERSEDED)

    async def _live(self, attempt: Attempt) -> None:
        name = attempt.job.attempt_id
        try:
            if outcome := await attempt.run():
                self._remember(name, outcome)
        finally:
            del self._attempts[name]
            if not self._attempts:
                self.idle.set()

    def _remember(self, attempt_id: str, outcome: Outcome) -> None:
        self._outcomes[attempt_id] = outcome
        if len(self._outcomes) > REMEMBERED_OUTCOMES:
            self._outcomes.popitem(last=False)

    async def _repeat(self, job: Job, outcome: Outcome) -> None:
        with suppress(AttemptOver, ReportRefused):  # then the hub knows better already
            await self._workshop.reporter.say(outcome.event, job, outcome.body)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            log.error("an attempt broke", exc_info=fault, extra={"action": "engine.internal_error"})
