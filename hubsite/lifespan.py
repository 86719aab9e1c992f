"""The hub's ASGI lifespan: shared state and records begin and end with the process, too."""

import asyncio
import logging

from realtime.lifespan import Lifespan as ServerLifespan
from realtime.server import Server
from realtime.state.shared import SharedState
from security import database, recorder

__all__ = ["Lifespan"]

log = logging.getLogger(__name__)

FLUSH_S = 1.5  # a part of the ten seconds of a stop (hubsite.serving)


class Lifespan(ServerLifespan):
    """As a server's, with what the hub has besides."""

    def __init__(self, server: Server, state: SharedState) -> None:
        super().__init__(server)
        self._state = state

    async def startup(self) -> None:
        """As ``realtime.lifespan``."""
        self._state.start()
        await super().startup()

    async def shutdown(self) -> None:
        """Whatever was recorded last is stored before the process ends."""
        await super().shutdown()
        await self._state.aclose()
        if not await asyncio.to_thread(recorder.shutdown, FLUSH_S):
            log.critical("records were not stored in time and are lost with this process")
        await asyncio.to_thread(database.shutdown)  # hubsite.serving ends one that hangs
