"""The hub under uvicorn, with settings that are safe for a gateway.

Differences from uvicorn's defaults, each with its reason: frames are bounded by our own limit and
never compressed (ten sockets of compressed zeros reach half a gigabyte), forwarded headers are our
own business (HUB_TRUSTED_PROXIES), sockets are told goodbye before the server closes them, the head
of a request has ten seconds to arrive, and a peer that never reads can be dropped at once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hubsite.websocket import HubWebSocket
from realtime.server import Server
from security.conf import HubSettings

__all__ = ["HubServer", "configure"]

HEAD_DEADLINE_S: Final = 10.0
GOODBYE_DEADLINE_S: Final = 5.0
GRACEFUL_S: Final = 8
CLOSE_RESTART: Final = 1012


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
    """A uvicorn server that says goodbye first: its lifespan would end after the sockets closed."""

    def __init__(
        self, config: uvicorn.Config, hub: Server, on_started: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(config)
        self._hub = hub
        self._on_started = on_started

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
        """Stop listening, then goodbye, then uvicorn's own end."""
        for server in self.servers:
            server.close()
        await self._hub.shutdown(code=CLOSE_RESTART, deadline_s=GOODBYE_DEADLINE_S)
        await super().shutdown(sockets)


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
        timeout_graceful_shutdown=GRACEFUL_S,
        access_log=False,
        log_config=None,
    )
