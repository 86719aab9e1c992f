"""Long-polling over HTTP: handshake, polls and POSTs of Engine.IO, on the same sessions.

Section "HTTP long-polling" of Engine.IO v4. The order of the checks, and the bodies of refusals,
are the Node server's. It stands beside Django in ``asgi.py``, as a Channels consumer with a receive
loop of its own: Channels' HTTP consumer collects a body without counting it, and hides from a
waiting handler that the client has gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from channels.consumer import AsyncConsumer

from realtime.answers import (
    Answer,
    BodyTooLarge,
    ClientGone,
    Receive,
    read_body,
    refusal,
    until_gone,
)
from realtime.denials import (
    BAD_METHOD,
    BAD_REQUEST,
    TOO_LARGE,
    UNKNOWN_SID,
    malformed,
    unsupported,
)
from realtime.handshake import Handshake
from realtime.longpolling import Detached, LongPolling, Overlap
from realtime.protocol import CloseReason, engineio

if TYPE_CHECKING:  # the server makes consumers; they are handed to it as arguments
    from realtime.enginesessions import EngineSession
    from realtime.node import Node
    from realtime.server import Server

__all__ = ["PollingConsumer"]

OK: Final = Answer(200, b"ok")


class PollingConsumer(AsyncConsumer):
    """One HTTP request."""

    def __init__(self, *, server: "Server") -> None:
        self.server = server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Serve one request."""
        handshake = Handshake.from_scope(scope)
        if await self.server.node().carried(handshake, scope, receive, send):
            return
        cors = self.server.cors
        headers = [] if cors is None else cors.headers(handshake.origin)
        if scope["method"] == "OPTIONS" and cors is not None:
            asked = handshake.headers.get("access-control-request-headers")
            answer, headers = Answer(204), headers + cors.preflight(asked)
        else:
            answer = await self._answer(scope["method"], handshake, receive)
        await answer.send(send, headers)

    async def _answer(self, method: str, handshake: Handshake, receive: Receive) -> Answer:
        denial = malformed(handshake)
        if denial is not None:
            return refusal(denial)
        node, sid = self.server.node(), handshake.query.get("sid")
        if sid is None:
            return await self._open(method, handshake, node)
        if sid in node.parting:
            return self._last_words(node, sid)
        session = node.sessions.get(sid)
        if session is not None:
            session.tick()
        if session is None or session.closed is not None:
            return refusal(UNKNOWN_SID)
        return await self._continue(method, handshake, session, receive)

    async def _open(self, method: str, handshake: Handshake, node: "Node") -> Answer:
        if method != "GET":
            return refusal(BAD_METHOD)
        if handshake.query["transport"] != "polling":  # a WebSocket does not come this way
            return refusal(BAD_REQUEST)
        await node.reachable()  # for its next poll may come to another process
        # Nothing waits between the admission and the session: what is counted is also taken.
        denial = await node.admit(handshake) or unsupported(handshake)
        if denial is not None:
            return refusal(denial)
        session = node.open(handshake)
        transport = LongPolling(limits=node.outbox_limits, on_slow=session.is_slow)
        session.open(transport)
        return payload(transport)

    def _last_words(self, node: "Node", sid: str) -> Answer:
        transport = node.parting.pop(sid)
        return payload(transport) if isinstance(transport, LongPolling) else refusal(UNKNOWN_SID)

    async def _continue(
        self, method: str, handshake: Handshake, session: "EngineSession", receive: Receive
    ) -> Answer:
        transport = session.transport
        if not isinstance(transport, LongPolling) or handshake.query["transport"] != "polling":
            return refusal(BAD_REQUEST)
        if unsupported(handshake):
            return refusal(BAD_REQUEST)
        denial = session.readmit(handshake)
        if denial is not None:
            return refusal(denial)
        serve = self._methods.get(method)
        if serve is None:
            return refusal(BAD_METHOD)
        return await serve(self, handshake, session, transport, receive)

    async def _poll(
        self,
        handshake: Handshake,
        session: "EngineSession",
        transport: LongPolling,
        receive: Receive,
    ) -> Answer:
        if transport.ready and not transport.polling:
            return payload(transport)
        watch = asyncio.ensure_future(until_gone(receive, lambda: abandon(session, transport)))
        try:
            frames = await transport.poll()
        except Overlap:
            session.fail("two polls at once")
            return refusal(BAD_REQUEST)
        except Detached:
            return refusal(BAD_REQUEST)
        finally:
            watch.cancel()
        return Answer(200, engineio.encode_payload(frames or [engineio.NOOP]))

    async def _post(
        self,
        handshake: Handshake,
        session: "EngineSession",
        transport: LongPolling,
        receive: Receive,
    ) -> Answer:
        if transport.posting:
            session.fail("two POSTs at once")
            return refusal(BAD_REQUEST)
        if handshake.headers.get("content-type") == "application/octet-stream":
            session.fail("binary bodies are Engine.IO v3")
            return refusal(BAD_REQUEST)
        transport.posting = True
        limits, declared = session.node.limits, handshake.headers.get("content-length")
        # A session that does not live longer than this without a pong needs no more for a body.
        deadline_s = (limits.ping_interval_ms + limits.ping_timeout_ms) / 1000
        try:
            async with asyncio.timeout(deadline_s):
                body = await read_body(receive, limit=limits.max_payload, declared=declared)
        except BodyTooLarge:
            return refusal(TOO_LARGE)
        except (ClientGone, TimeoutError):
            abandon(session, transport)
            return refusal(BAD_REQUEST)
        finally:
            transport.posting = False
        return self._take(session, transport, body)

    def _take(self, session: "EngineSession", transport: LongPolling, body: bytes) -> Answer:
        if session.closed is not None:
            return refusal(UNKNOWN_SID)
        closed = session.receive_payload(body)
        if closed is not None and closed.fault is not None:
            return refusal(BAD_REQUEST)
        if closed is not None and closed.reason is CloseReason.TRANSPORT_CLOSE:
            transport.abort()  # the client said so itself: its poll need not hear it
        return OK

    _methods: ClassVar[Mapping[str, Callable[..., Awaitable[Answer]]]] = {
        "GET": _poll,
        "POST": _post,
    }


def payload(transport: LongPolling) -> Answer:
    """All that waits, as one body."""
    return Answer(200, engineio.encode_payload(transport.take() or [engineio.NOOP]))


def abandon(session: "EngineSession", transport: LongPolling) -> None:
    """The client gave up a request, and with it the session, if that is still carried here."""
    if session.transport is transport:
        session.lose(CloseReason.TRANSPORT_ERROR, "the client gave up a request")
