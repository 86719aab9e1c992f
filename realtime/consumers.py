"""The Channels consumers: they carry frames between ASGI and a session, and decide nothing.

They are Channels consumers with a receive loop of their own. Channels' dispatch hops onto a shared
thread before every message, so that one socket's slow query delays all others by its length; and it
takes one message at a time, so that a slow handler holds up the pongs behind it.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from channels.consumer import AsyncConsumer

from realtime.handshake import Denial, Handshake
from realtime.outbox import Outbox
from realtime.protocol import CloseReason

if TYPE_CHECKING:  # the server makes consumers; they are handed to it as arguments
    from realtime.enginesessions import EngineSession
    from realtime.server import Server

__all__ = ["WebSocketConsumer"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Any]

CLOSE_TRY_AGAIN_LATER = 1013


class WebSocketConsumer(AsyncConsumer):
    """One WebSocket, from handshake to close."""

    def __init__(self, *, server: "Server") -> None:
        self.server = server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Serve one connection."""
        await receive()
        handshake = Handshake.from_scope(scope)
        node = self.server.node()
        denial = engineio_denial(handshake) or await node.policy.admit(handshake, now=node.now())
        if denial is not None:
            await deny(denial, scope, send)
            return
        session = node.open(handshake)
        try:
            await send({"type": "websocket.accept"})
            session.open(self._outbox(session, send))
            await self._pump(receive, session)
        finally:
            session.lose(CloseReason.TRANSPORT_CLOSE)

    def _outbox(self, session: "EngineSession", send: Send) -> Outbox:
        return Outbox(
            send,
            limits=self.server.outbox_limits,
            on_slow=session.is_slow,
            on_gone=lambda: session.lose(CloseReason.TRANSPORT_ERROR, "the write failed"),
        )

    async def _pump(self, receive: Receive, session: "EngineSession") -> None:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                session.lose(CloseReason.TRANSPORT_CLOSE, f"code {message.get('code', 1005)}")
                return
            frame = message.get("text")
            session.receive(message["bytes"] if frame is None else frame)


def engineio_denial(handshake: Handshake) -> Denial | None:
    """The checks of an Engine.IO handshake, in the reference server's order and with its codes."""
    if handshake.query.get("transport") != "websocket":
        return Denial(400, 0, "Transport unknown")
    if "sid" in handshake.query:
        return Denial(400, 1, "Session ID unknown")
    if handshake.query.get("EIO") != "4":
        return Denial(400, 5, "Unsupported protocol version")
    return None


async def deny(denial: Denial, scope: dict[str, Any], send: Send) -> None:
    """Refuse a WebSocket with an HTTP status where the server can, else with a bare close."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN_LATER})
        return
    body = json.dumps({"code": denial.code, "message": denial.message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if denial.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % -(-denial.retry_after_ms // 1000)))
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await send(
            {"type": "websocket.http.response.start", "status": denial.status, "headers": headers}
        )
        await send({"type": "websocket.http.response.body", "body": body})
