"""The public face of the SDK: an engine with decorated handlers, run until it is stopped.

engine = Engine("https://hub.example", "builder", secret)

@engine.job("BUILD_SCENE")
async def build(job, context):
    context.progress(50)
    return {"nodes": 1}

engine.main()            # or: await engine.run()
"""

import asyncio
import contextlib
import logging
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from engine.sdk.attempt import STOPPED, Handler, Workshop
from engine.sdk.envelope import Identity, Secret
from engine.sdk.errors import InvalidSecret
from engine.sdk.hubapi import HubApi
from engine.sdk.keeper import Keeper
from engine.sdk.reports import Gate, Reporter
from engine.sdk.roster import Roster
from engine.sdk.timing import HubClock, Timing
from security.signatures import KEY_BYTES, BadBase64Url, from_base64url

__all__ = ["Engine"]

log = logging.getLogger("engine.sdk")

AnyHandler = TypeVar("AnyHandler", bound=Handler)


class Engine:
    """An engine of one hub. `dropped` counts messages that were not the hub's, by reason."""

    def __init__(
        self,
        url: str,
        name: str,
        secret: str,
        *,
        capacity: int = 4,
        version: str = "",
        timing: Timing | None = None,
    ) -> None:
        """Describe the engine; nothing connects before `run()`.

        `url` is the hub's address (``http`` or ``https``), `secret` the text that ``manage.py
        service add engine NAME`` printed, `capacity` how many jobs may run at once. Raises
        `InvalidSecret`, and `ValueError` for another kind of address or a capacity below 1.
        """
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
            raise ValueError(f"the hub's address starts with http:// or https://, not {url!r}")
        if capacity < 1:
            raise ValueError(f"an engine with a capacity of {capacity} could do nothing")
        self._url = url.rstrip("/")
        self._identity = Identity(name, _secret(secret))
        self._capacity = capacity
        self._version = version
        self._timing = timing or Timing()
        self._handlers: dict[str, Handler] = {}
        self._running = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self.dropped: Counter[str] = Counter()

    def job(self, job_type: str) -> Callable[[AnyHandler], AnyHandler]:
        """Decorate the handler of a type of job: ``handler(job, context) -> result object``.

        Raises `ValueError` if the type has a handler already.
        """

        def register(handler: AnyHandler) -> AnyHandler:
            if job_type in self._handlers:
                raise ValueError(f"{job_type} has a handler already")
            self._handlers[job_type] = handler
            return handler

        return register

    async def run(self) -> None:
        """Serve the hub until `stop()`; reconnect for as long as that can help. Runs once.

        Raises `HubRefused` when the hub does not want this engine: a wrong secret, a disabled
        account, a newer connection of the same name. Running jobs are dropped then, as they are
        when this coroutine is cancelled; their leases lapse and the hub tries them again.
        """
        if self._running:
            raise RuntimeError("an engine runs once; make another one to run again")
        self._running = True
        timeout = aiohttp.ClientTimeout(total=self._timing.http_s)
        threads = ThreadPoolExecutor(self._capacity, thread_name_prefix="job")
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                await self._live(http, threads)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def stop(self, *, now: bool = False) -> None:
        """Drain: take no new job, finish those that run, then let `run()` return.

        With `now`, running jobs are given up, and the hub is told to try them elsewhere. Call it on
        the loop of `run()`, from other threads by ``loop.call_soon_threadsafe(engine.stop)``.
        """
        self._stop.set()
        if now:
            self._hurry.set()

    def main(self) -> None:
        """Run until SIGTERM or SIGINT, then drain; a second signal gives the jobs up."""
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels `run()` there
                loop.add_signal_handler(number, lambda: self.stop(now=self._stop.is_set()))
        await self.run()

    # One life.

    async def _live(self, http: aiohttp.ClientSession, threads: ThreadPoolExecutor) -> None:
        roster, keeper = self._assemble(http, threads)
        keep = asyncio.create_task(keeper.run())
        drain = asyncio.create_task(self._drained(roster, keeper))
        try:
            done, _ = await asyncio.wait({keep, drain}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            drain.cancel()
            await roster.close()
            keep.cancel()
            await asyncio.gather(keep, drain, return_exceptions=True)

    def _assemble(
        self, http: aiohttp.ClientSession, threads: ThreadPoolExecutor
    ) -> tuple[Roster, Keeper]:
        clock, gate, timing = HubClock(), Gate(), self._timing
        api = HubApi(self._url, self._identity, http=http, clock=clock, timing=timing)
        workshop = Workshop(
            handlers=self._handlers,
            api=api,
            reporter=Reporter(gate, clock=clock, timing=timing),
            slots=asyncio.Semaphore(self._capacity),
            threads=threads,
            timing=timing,
        )
        roster = Roster(workshop, refuse=self._count)
        keeper = Keeper(
            self._url,
            self._identity,
            api=api,
            clock=clock,
            timing=timing,
            gate=gate,
            roster=roster,
            ready=self._introduction(),
            refuse=self._count,
        )
        return roster, keeper

    def _introduction(self) -> dict[str, Any]:
        return {
            "capacity": self._capacity,
            "job_types": sorted(self._handlers),
            "version": self._version,
        }

    def _count(self, reason: str) -> None:
        self.dropped[reason] += 1

    async def _drained(self, roster: Roster, keeper: Keeper) -> None:
        """Return when `stop()` was called and no job is left, or none can be waited for."""
        await self._stop.wait()
        log.info("draining", extra={"action": "engine.draining"})
        await keeper.drain()
        ends = [asyncio.create_task(event.wait()) for event in (roster.idle, self._hurry)]
        await asyncio.wait(ends, timeout=self._timing.drain_s, return_when=asyncio.FIRST_COMPLETED)
        roster.cancel_all(STOPPED)
        with contextlib.suppress(TimeoutError):  # then the leases lapse and say it for us
            async with asyncio.timeout(self._timing.farewell_s):
                await roster.idle.wait()
        for end in ends:
            end.cancel()


def _secret(text: str) -> Secret:
    try:
        secret = Secret(from_base64url(text.strip()))
    except BadBase64Url as fault:
        raise InvalidSecret from fault
    if len(secret) != KEY_BYTES:
        raise InvalidSecret
    return secret
