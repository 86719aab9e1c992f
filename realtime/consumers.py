"""The WebSocket consumer: it carries frames between ASGI and a session, and decides nothing.

It is a Channels consumer with a receive loop of its own. Channels' dispatch hops onto a shared
thread before every message, so that one socket's slow query delays all others by its length; and it
takes one message at a time, so that a slow handler holds up the pongs behind it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from channels.consumer import AsyncConsumer

from realtime.answers import Receive, Send, deny
from realtime.denials import BAD_REQUEST, UNKNOWN_SID, malformed, unsupported
from realtime.direct import DirectOutbox
from realtime.handshake import Denial, Handshake
from realtime.longpolling import LongPolling
from realtime.outbox import Outbox, TextOutbox
from realtime.protocol import CloseReason, engineio

if TYPE_CHECKING:  # the server makes consumers; they are handed to it as arguments
    from realtime.enginesessions import EngineSession
    from realtime.node import Node
    from realtime.server import Server

__all__ = ["WebSocketConsumer"]

CLOSE_NORMAL = 1000


class WebSocketConsumer(AsyncConsumer):
    """One WebSocket, from handshake to close: a session of its own, or the upgrade of another."""

    def __init__(self, *, server: "Server") -> None:
        self.server = server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Serve one connection."""
        handshake, node = Handshake.from_scope(scope), self.server.node()
        if await node.carried(handshake, scope, receive, send):
            return
        await receive()
        denial = await self._denial(handshake, node)
        if denial is not None:
            await deny(denial, scope, send)
        elif "sid" in handshake.query:
            await self._upgrade(node.sessions[handshake.query["sid"]], handshake, receive, send)
        else:
            session = node.open(handshake)
            try:
                await send({"type": "websocket.accept"})
                session.open(self._outbox(session, handshake, send))
                await self._pump(handshake, receive, session)
            finally:
                session.lose(CloseReason.TRANSPORT_CLOSE)

    async def _denial(self, handshake: Handshake, node: "Node") -> Denial | None:
        """The checks of Engine.IO's handshake, in the Node server's order and with its codes."""
        denial = malformed(handshake)
        if denial is None and handshake.query["transport"] != "websocket":
            denial = BAD_REQUEST
        if denial is not None:
            return denial
        sid = handshake.query.get("sid")
        if sid is None:
            return await node.admit(handshake) or unsupported(handshake)
        session = node.sessions.get(sid)
        if session is None:
            return UNKNOWN_SID
        return BAD_REQUEST if unsupported(handshake) else session.readmit(handshake)

    def _outbox(self, session: "EngineSession", handshake: Handshake, send: Send) -> Outbox:
        text_only = handshake.query.get("b64")
        make: Callable[..., Outbox] = TextOutbox if text_only else Outbox
        if handshake.wire is not None and not text_only:
            make = partial(DirectOutbox, handshake.wire)
        return make(
            send,
            limits=self.server.outbox_limits,
            on_slow=session.is_slow,
            on_gone=partial(_lose_soon, session),
        )

    async def _pump(self, handshake: Handshake, receive: Receive, session: "EngineSession") -> None:
        if handshake.wire is not None:  # then only the end comes by the long way
            handshake.wire.listen(session.receive)
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                session.lose(CloseReason.TRANSPORT_CLOSE, f"code {message.get('code', 1005)}")
                return
            frame = message.get("text")
            session.receive(message["bytes"] if frame is None else frame)

    # -- the upgrade

    async def _upgrade(
        self, session: "EngineSession", handshake: Handshake, receive: Receive, send: Send
    ) -> None:
        await send({"type": "websocket.accept"})
        polling = session.transport
        if not isinstance(polling, LongPolling) or not await self._probe(polling, receive, send):
            with contextlib.suppress(OSError, RuntimeError):  # the peer may have closed it already
                await send({"type": "websocket.close", "code": CLOSE_NORMAL})
            return
        try:
            outbox = self._outbox(session, handshake, send)
            session.upgrade(outbox, polling.detach(), handshake.abort)
            await self._pump(handshake, receive, session)
        finally:
            session.lose(CloseReason.TRANSPORT_CLOSE)

    async def _probe(self, polling: LongPolling, receive: Receive, send: Send) -> bool:
        """Speak the probe; whether the client moves over. Whatever fails leaves polling alive."""
        if polling.probed:
            return False
        polling.probed = True
        try:
            async with asyncio.timeout(self.server.limits.upgrade_timeout_ms / 1000):
                if (await receive()).get("text") != engineio.PROBE_PING:
                    return False
                await send({"type": "websocket.send", "text": engineio.PROBE_PONG})
                polling.let_go()
                said = (await receive()).get("text")
                return said == engineio.UPGRADE and not polling.closed
        except (TimeoutError, OSError):
            return False
        finally:
            polling.stay()


def _lose_soon(session: "EngineSession") -> None:
    """A write failed; if the server closed the connection, the code that says why is on its way."""
    loop = asyncio.get_running_loop()
    loop.call_soon(session.lose, CloseReason.TRANSPORT_ERROR, "the write failed")
