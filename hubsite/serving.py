"""The hub under uvicorn, with settings that are safe for a gateway.

Differences from uvicorn's defaults, each with its reason: frames are bounded by our own limit and
never compressed (ten sockets of compressed zeros reach half a gigabyte), forwarded headers are our
own business (HUB_TRUSTED_PROXIES), sockets are told goodbye before the server closes them, the head
of a request has ten seconds to arrive, and a peer that never reads can be dropped at once.

A stop takes STOPS_WITHIN_S at most, however much hangs: sockets, then requests, then records.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hubsite.websocket import HubWebSocket
from realtime.server import Server
from security.conf import HubSettings

__all__ = ["STOPS_WITHIN_S", "HubServer", "configure"]

log = logging.getLogger(__name__)

HEAD_DEADLINE_S: Final = 10.0
CLOSE_RESTART: Final = 1012
# The ten seconds of a stop: goodbyes and outboxes (and then at most 3.5 for what the node has yet
# to do: engine.coordinator, realtime.node), requests in hand, and what the lifespan stores
# (hubsite.lifespan).
GOODBYE_DEADLINE_S: Final = 3.0
REQUESTS_END_S: Final = 1
STOPS_WITHIN_S: Final = 9.5
TICK_S: Final = 0.1


class PunctualHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol that lets go of a client whose request head does not arrive."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as the base class
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_DEADLINE_S, transport.abort)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class HubServer(uvicorn.Server):
    """A uvicorn server that says goodbye first: its lifespan would end after the sockets closed.

    ``notice_s`` is how long it is not ready before that, for load balancers to take note;
    ``ends_within_s`` after that, the whole process is cut off if it has not ended.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        hub: Server,
        on_started: Callable[[int], None] | None = None,
        *,
        notice_s: float = 0.0,
        ends_within_s: float | None = None,
    ) -> None:
        super().__init__(config)
        self._hub = hub
        self._on_started = on_started
        self._notice_s = notice_s
        self._ends_within_s = ends_within_s

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A stop that was asked for is no failure: uvicorn would raise the signal once more at the
        end, which kills the process with what it still has to tidy up."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Say goodbye, then uvicorn's own end. A second signal cuts the waiting short.

        Connections are accepted until all have gone: by them a polling client fetches its goodbye,
        a load balancer reads that we are not ready, and newcomers are told to come later.
        """
        if self._ends_within_s is not None:
            _end_within(self._notice_s + self._ends_within_s)
        self._hub.refuse()
        await self._unless_forced(asyncio.sleep(self._notice_s))
        await self._unless_forced(self._hub.part(code=CLOSE_RESTART, deadline_s=GOODBYE_DEADLINE_S))
        await super().shutdown(sockets)

    async def _unless_forced(self, work: Awaitable[None]) -> None:
        ending = asyncio.ensure_future(work)
        await asyncio.wait([ending], timeout=TICK_S)  # so much for everybody, also in a hurry
        while not ending.done() and not self.force_exit:
            await asyncio.wait([ending], timeout=TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks for a stop, any second one for a quick one."""
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)


def _end_within(seconds: float) -> None:
    """Let the process end even if a thread hangs in the database: the interpreter would wait."""
    last_resort = threading.Timer(seconds, _leave)
    last_resort.daemon = True
    last_resort.start()


def _leave() -> None:
    log.critical("the process did not end by itself, it is cut off")
    logging.shutdown()
    os._exit(1)


def configure(app: Any, settings: HubSettings, *, host: str, port: int) -> uvicorn.Config:  # noqa: ANN401 - an ASGI application
    """uvicorn's configuration for the hub."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=PunctualHttp,
        ws=HubWebSocket,
        ws_max_size=settings.max_payload,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has its own heartbeat
        ws_ping_timeout=None,
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=REQUESTS_END_S,
        access_log=False,
        log_config=None,
    )
