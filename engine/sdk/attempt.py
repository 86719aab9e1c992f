"""One attempt at a job, from its arrival to the report that ends it."""

import asyncio
import contextlib
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, cast

from engine.sdk.errors import AttemptOver, JobFailed, ReportRefused
from engine.sdk.hubapi import HubApi
from engine.sdk.job import Context, Job
from engine.sdk.reports import Progress, Reporter
from engine.sdk.timing import Timing

__all__ = ["Attempt", "Handler", "Outcome", "Workshop"]

log = logging.getLogger("engine.sdk")

Result = Mapping[str, Any] | None
Handler = Callable[[Job, Context], Awaitable[Result]] | Callable[[Job, Context], Result]
"""An asynchronous handler runs on the loop, a plain one in a thread; both return a JSON object."""

LONGEST_MESSAGE: Final = 500  # characters of an exception that the hub gets to see

ABORTED: Final = "cancelled"
TIMED_OUT: Final = "timeout"
STOPPED: Final = "engine_stopped"

# Which ends of an attempt by cancelling the hub should try again elsewhere.
_RETRYABLE: Final = {ABORTED: False, TIMED_OUT: True, STOPPED: True}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report that ends an attempt."""

    event: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all attempts of an engine share."""

    handlers: Mapping[str, Handler]
    api: HubApi
    reporter: Reporter
    slots: asyncio.Semaphore
    threads: Executor
    timing: Timing


class Attempt:
    """A live attempt. `run()` is its whole life; `cancel()` may come at any time."""

    def __init__(self, job: Job, workshop: Workshop) -> None:
        self.job = job
        self._workshop = workshop
        self._progress = Progress(
            job, say=workshop.reporter.say, pause_s=workshop.timing.progress_s
        )
        self._context = Context(job, api=workshop.api, report=self._progress.set)
        self._work: asyncio.Task[Result] | None = None
        self._detail = ""

    @property
    def wanted(self) -> bool:
        """Tell whether the attempt still needs its lease: a cancelled one lets it lapse."""
        return not self._context.cancelled

    async def run(self) -> Outcome | None:
        """Take the attempt to its end and return what the hub was told, None if it was over."""
        try:
            await self._say("job_ack")
            outcome = await self._worked()
            return await self._conclude(outcome)
        except (AttemptOver, ReportRefused) as over:
            log.warning("gave up: %s", over, extra=self._log("engine.attempt_over"))
            return None
        finally:
            await self._tidy()

    def cancel(self, code: str, detail: str = "") -> None:
        """Stop the work; the attempt then ends as failed with `code`."""
        if self._context.cancel_reason is None:
            self._context.cancel_reason = code
            self._detail = detail
            self._interrupt()

    async def acknowledge_again(self) -> None:
        """Answer a second delivery of an attempt that is already under way."""
        with contextlib.suppress(AttemptOver, ReportRefused):  # `run()` hears the same and acts
            await self._say("job_ack")

    # The work.

    async def _worked(self) -> Outcome:
        """Do the work beside the reports of its progress, and return how it ended."""
        self._work = asyncio.create_task(self._in_a_slot())
        reports = asyncio.create_task(self._progress.run())
        reports.add_done_callback(self._reports_ended)
        if self._context.cancelled:
            self._interrupt()
        try:
            await asyncio.wait({self._work})
            self._progress.close()
            await asyncio.wait({reports})
        finally:
            reports.cancel()
        if fault := reports.exception():
            raise fault
        return self._outcome(self._work)

    async def _in_a_slot(self) -> Result:
        async with self._workshop.slots:
            await self._say("job_started")
            with self._alarm():
                return await self._handled()

    @contextlib.contextmanager
    def _alarm(self) -> Iterator[None]:
        """Cancel the work when the time that the hub gives it is over."""
        if self.job.timeout_s is None:
            yield
            return
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(self.job.timeout_s, self.cancel, TIMED_OUT)
        try:
            yield
        finally:
            alarm.cancel()

    async def _handled(self) -> Result:
        handler = self._workshop.handlers.get(self.job.job_type)
        if handler is None:
            raise JobFailed("unsupported_job_type", f"no handler for {self.job.job_type}")
        if inspect.iscoroutinefunction(handler):
            return cast("Result", await handler(self.job, self._context))
        return await self._in_a_thread(cast("Callable[[Job, Context], Result]", handler))

    async def _in_a_thread(self, handler: Callable[[Job, Context], Result]) -> Result:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._workshop.threads, handler, self.job, self._context)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})  # a thread cannot be interrupted; it has been told
            return future.result()

    def _interrupt(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def _reports_ended(self, reports: asyncio.Task[None]) -> None:
        """Stop the work as soon as a report of progress hears that the attempt is over."""
        if not reports.cancelled() and (fault := reports.exception()):
            self.cancel(str(fault))

    async def _tidy(self) -> None:
        """Leave no work behind when the engine itself is cancelled, but a thread that won't end."""
        if self._work is not None and not self._work.done():
            self.cancel(STOPPED)
            await asyncio.wait({self._work}, timeout=self._workshop.timing.farewell_s)

    # The end.

    def _outcome(self, work: asyncio.Task[Result]) -> Outcome:
        fault = None if work.cancelled() else work.exception()
        if isinstance(fault, AttemptOver | ReportRefused):
            raise fault
        reason = self._context.cancel_reason
        if reason == ABORTED or work.cancelled() or (reason and fault):
            return self._cancelled()
        return self._failed(fault) if fault else _completed(work.result())

    def _cancelled(self) -> Outcome:
        code = self._context.cancel_reason or "handler_error"
        return failure(code, self._detail or code, retryable=_RETRYABLE.get(code, True))

    def _failed(self, fault: BaseException) -> Outcome:
        if isinstance(fault, JobFailed):
            return failure(fault.code, str(fault), retryable=fault.retryable)
        log.error("handler failed", exc_info=fault, extra=self._log("engine.handler_error"))
        return failure("handler_error", f"{type(fault).__name__}: {fault}", retryable=True)

    async def _conclude(self, outcome: Outcome) -> Outcome:
        try:
            await self._say(outcome.event, outcome.body)
        except ReportRefused as refusal:
            if outcome.event != "job_completed":
                raise
            outcome = failure("result_refused", str(refusal), retryable=False)
            await self._say(outcome.event, outcome.body)
        return outcome

    async def _say(self, event: str, body: Mapping[str, Any] | None = None) -> None:
        await self._workshop.reporter.say(event, self.job, body or {})

    def _log(self, action: str) -> dict[str, str]:
        return {"action": action, **self.job.name}


def failure(code: str, message: str, *, retryable: bool) -> Outcome:
    """Return the report of a failure; a long message is cut.

    What strict JSON has no place for (U+0000, lone surrogates) becomes a question mark: a message
    that the hub refuses would leave the job to its lease.
    """
    text = message[:LONGEST_MESSAGE].replace("\0", "?").encode(errors="replace").decode()
    error = {"code": code, "message": text, "retryable": retryable}
    return Outcome("job_failed", {"error": error})


def _completed(result: object) -> Outcome:
    """Return the report of a result, or of the failure that it is none."""
    result = {} if result is None else result
    if not isinstance(result, Mapping):
        wrong = f"a handler returns an object, not {type(result).__name__}"
        return failure("bad_result", wrong, retryable=False)
    try:
        json.dumps(dict(result), allow_nan=False)
    except (TypeError, ValueError) as fault:
        return failure("bad_result", str(fault), retryable=False)
    return Outcome("job_completed", {"result": dict(result)})
