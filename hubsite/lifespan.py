"""The ASGI lifespan: start the node with the process, end it with the process.

Under a server without lifespan (Daphne) the node starts with the first connection instead.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.server import Server
from realtime.state.shared import SharedState
from security import database, recorder

__all__ = ["Lifespan"]

log = logging.getLogger(__name__)

FLUSH_S = 1.5  # a part of the ten seconds of a stop (hubsite.serving)


class Lifespan:
    """Answers startup and shutdown."""

    def __init__(self, server: Server, state: SharedState) -> None:
        self._server = server
        self._state = state

    async def __call__(
        self,
        _scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve the two messages of a lifespan."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._state.start()
                self._server.node()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._server.shutdown()
                await self._state.aclose()
                await self._end_records()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _end_records(self) -> None:
        """Whatever was recorded last is stored before the process ends."""
        if not await asyncio.to_thread(recorder.shutdown, FLUSH_S):
            log.critical("records were not stored in time and are lost with this process")
        await asyncio.to_thread(database.shutdown)  # hubsite.serving ends one that hangs
