"""Telling the hub how an attempt goes, until it has heard or says that it is none of ours.

A report is signed anew each time it is sent, on whatever connection is ready then. The hub answers
a report that it knows already with ``duplicate: true``, so repeating is safe.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from engine.sdk.errors import AckMissing, AttemptOver, LinkLost, ReportRefused
from engine.sdk.job import Job
from engine.sdk.link import Link
from engine.sdk.timing import HubClock, Timing

__all__ = ["Gate", "Progress", "Reporter"]

log = logging.getLogger("engine.sdk")

# What the hub's reasons mean for a report (docs/wire.md). Any other one means: again later.
_OVER: Final = frozenset(
    {
        "STALE_ATTEMPT",
        "LEASE_EXPIRED",
        "JOB_UNKNOWN",
        "JOB_NOT_YOURS",
        "INVALID_TRANSITION",
        "CONFLICTING_COMPLETION",
    }
)
_REFUSED: Final = frozenset(
    {
        "PAYLOAD_INVALID",
        "PAYLOAD_TOO_COMPLEX",
        "PAYLOAD_TOO_LARGE",
        "ENGINE_PACKET_INCOMPLETE",
        "ENGINE_SIGNATURE_INVALID",
    }
)


class Gate:
    """Holds the connection that may carry reports: one that has introduced itself."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._open = asyncio.Event()

    @property
    def link(self) -> Link | None:
        """The ready connection, None while there is none."""
        return self._link

    def admit(self, link: Link | None) -> None:
        """Let reports pass over `link`, or hold them back with None."""
        self._link = link
        if link is None:
            self._open.clear()
        else:
            self._open.set()

    async def pass_through(self) -> Link:
        """Wait for a ready connection and return it."""
        while self._link is None:
            await self._open.wait()
        return self._link


class Say(Protocol):
    """Send one report of an attempt and return when the hub has it."""

    async def __call__(self, event: str, job: Job, body: Mapping[str, Any]) -> None:
        """Raise `AttemptOver` or `ReportRefused` for a final no."""


class Reporter:
    """Sends reports until they are acknowledged."""

    def __init__(self, gate: Gate, *, clock: HubClock, timing: Timing) -> None:
        self._gate = gate
        self._clock = clock
        self._timing = timing

    async def say(self, event: str, job: Job, body: Mapping[str, Any]) -> None:
        """Send the event with the attempt's ids, again and again if need be.

        Raises `AttemptOver` if the attempt is not ours any more and `ReportRefused` if the hub does
        not take the content.
        """
        delays = self._timing.delays()
        while True:
            link = await self._gate.pass_through()
            wait_s = await self._say_once(link, event, {**job.name, **body})
            if wait_s is None:
                return
            await asyncio.sleep(max(next(delays), wait_s))

    async def _say_once(self, link: Link, event: str, body: Mapping[str, Any]) -> float | None:
        """Return None if the hub has heard, else the least wait in seconds before the next try."""
        try:
            ack = await link.call(event, body)
        except LinkLost:
            self._withdraw(link)
            return 0.0
        except AckMissing:
            return 0.0
        if ack.get("ok") is True:
            return None
        return self._judge(event, ack)

    def _judge(self, event: str, ack: Mapping[str, Any]) -> float:
        code = str(ack.get("error", "")).upper()
        log.info("%s refused: %s", event, code, extra={"action": "engine.report_refused"})
        if code in _OVER:
            raise AttemptOver(code)
        if code in _REFUSED:
            raise ReportRefused(code)
        self._clock.follow(ack.get("server_time"))
        wait_ms = ack.get("retry_after_ms")
        return wait_ms / 1000 if type(wait_ms) is int and wait_ms > 0 else 0.0

    def _withdraw(self, link: Link) -> None:
        """Close the gate for a connection that has just proved dead, so that nobody spins on it."""
        if self._gate.link is link:
            self._gate.admit(None)


class Progress:
    """The newest progress of one attempt, on its way to the hub at a bounded rate.

    Values in between are skipped. The last one is always sent, at once when the job is done.
    """

    def __init__(self, job: Job, *, say: Say, pause_s: float) -> None:
        self._job = job
        self._say = say
        self._pause_s = pause_s
        self._newest = 0
        self._sent = 0
        self._news = asyncio.Event()
        self._closing = asyncio.Event()

    def set(self, percent: int) -> None:
        """Take a value; smaller ones than before are forgotten."""
        if percent > self._newest:
            self._newest = percent
            self._news.set()

    def close(self) -> None:
        """Ask `run()` to send what is left and to return."""
        self._closing.set()
        self._news.set()

    async def run(self) -> None:
        """Send values until closed. Raises `AttemptOver`."""
        while not self._closing.is_set() or self._newest > self._sent:
            await self._news.wait()
            if not self._closing.is_set():
                self._news.clear()
            if self._newest > self._sent:
                await self._send(self._newest)
                await self._pause()

    async def _send(self, percent: int) -> None:
        self._sent = percent
        try:
            await self._say("job_progress", self._job, {"progress": percent})
        except ReportRefused as refusal:  # a lost number on a bar is no reason to lose the work
            log.warning("progress: %s", refusal, extra={"action": "engine.progress_refused"})

    async def _pause(self) -> None:
        """Wait between two reports; a job that is done does not wait."""
        try:
            async with asyncio.timeout(self._pause_s):
                await self._closing.wait()
        except TimeoutError:
            return
