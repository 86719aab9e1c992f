"""What a WebSocket to any other address gets: a refusal, not a traceback of the router."""

from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["no_such_socket"]


async def no_such_socket(
    _scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Refuse the handshake; the server answers 403."""
    await receive()
    await send({"type": "websocket.close", "code": 4400})
