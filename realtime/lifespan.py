"""The ASGI lifespan of a server: its node starts with the process and ends with it.

Under a server without lifespan (Daphne) the node starts with the first connection instead.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the server makes its own lifespan
    from realtime.server import Server

__all__ = ["Lifespan"]


class Lifespan:
    """Answers startup and shutdown."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    async def __call__(
        self,
        _scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve the two messages of a lifespan."""
        await receive()
        await self.startup()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def startup(self) -> None:
        """The process begins to serve."""
        self._server.node()

    async def shutdown(self) -> None:
        """The process ends; its sockets are closed already, under uvicorn."""
        await self._server.shutdown()
