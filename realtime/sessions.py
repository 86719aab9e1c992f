"""One live Engine.IO session: arrivals handled in order, departures through one outbox.

The wire loop (``receive``) never waits: a handler that waits runs in the session's one worker task,
and what arrives meanwhile queues in the inbox, which is bounded: an event that finds it full is
throttled. Pongs, acknowledgements and closes never queue.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from realtime.handshake import Handshake
from realtime.namespaces import ConnectionRefused, Result, Socket, is_awaitable
from realtime.protocol import (
    AckReceived,
    Closed,
    CloseReason,
    Connection,
    ConnectReceived,
    DisconnectReceived,
    Event,
    EventReceived,
    Frame,
    PongReceived,
    Throttled,
    UnknownAck,
)
from realtime.timers import Timer

if TYPE_CHECKING:  # the node makes sessions; at run time they only hold it
    from realtime.node import Node

__all__ = ["Session", "Transport"]

log = logging.getLogger(__name__)

CLOSE_INTERNAL_ERROR = 1011
CLOSE_SLOW_READER = 4410
INBOX_RETRY_MS = 1_000  # a full inbox drains at the speed of the handler, which nobody knows

Step = Callable[[], Result | Awaitable[Result | None]]


class Transport(Protocol):
    """What carries frames to the peer: an outbox on a WebSocket, or on polling requests."""

    def write(self, frame: Frame) -> None:
        """Send a frame, in order."""

    def close(self, code: int, reason: str = "") -> None:
        """Close after what is queued."""

    def discard(self) -> None:
        """Drop what is queued."""

    def abort(self) -> None:
        """Stop at once."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""

    async def drained(self) -> None:
        """Return when nothing waits."""


class Session:
    """The server's side of one client connection with all its namespaces."""

    def __init__(self, node: "Node", handshake: Handshake) -> None:
        now = node.now()
        self.node = node
        self.handshake = handshake
        self.id = secrets.token_urlsafe(18)
        self.opened_at = now
        self.policy_state: Any = node.policy.open(self)
        self.connection = Connection(
            sid=self.id,
            limits=node.limits,
            namespaces=node.namespaces,
            now=now,
            meter=node.policy.meter(self),
        )
        self.sockets: dict[str, Socket[Any]] = {}
        self.received = 0
        self._transport: Transport | None = None
        self._inbox: deque[tuple[Socket[Any], Step, int | None]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._waiting_acks: dict[int, asyncio.Future[list[Any]]] = {}
        self._timer: Timer | None = None
        self._close_code: int | None = None

    # -- the wire

    def open(self, transport: Transport) -> None:
        """The transport is ready: send the open packet."""
        self._transport = transport
        self._flush()
        self._set_timer()

    def receive(self, frame: Frame) -> None:
        """Take one frame from the wire. Never raises, never waits."""
        self.received += 1
        self._take(self.connection.receive_frame(frame, now=self.node.now()))
        self._flush()

    def lose(self, reason: CloseReason, detail: str = "") -> None:
        """The transport is gone: nothing more can be sent."""
        if self._transport is not None:
            self._transport.abort()
        self._take(self.connection.close(reason, detail))

    # -- what the namespaces and sockets ask for

    def emit(self, namespace: str, args: Sequence[Any]) -> None:
        """Send an event at once."""
        self.connection.emit(namespace, args)
        self._flush()

    def acknowledge(self, namespace: str, ack_id: int, args: Sequence[Any]) -> None:
        """Answer a message."""
        self.connection.acknowledge(namespace, ack_id, args)
        self._flush()

    async def call(self, namespace: str, args: Sequence[Any], *, timeout_s: float) -> list[Any]:
        """Send an event, await its acknowledgement. Raises TimeoutError, or ConnectionError."""
        ack_id = self.connection.next_ack_id(namespace)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting_acks[ack_id] = answer
        try:
            self.connection.emit(namespace, args, ack_id)
            self._flush()
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            self._waiting_acks.pop(ack_id, None)
            self.connection.forget_ack(namespace, ack_id)

    def send_encoded(self, frames: Collection[Frame], *, volatile: bool = False) -> None:
        """Send frames that are ready for the wire; the hot path of a broadcast."""
        transport = self._transport
        if transport is None or (volatile and not transport.idle):
            return
        for frame in frames:
            transport.write(frame)

    def disconnect(self, socket: Socket[Any]) -> None:
        """Send a DISCONNECT for one namespace; the connection stays open."""
        self.connection.leave(socket.namespace.name)
        self._flush()
        self._part(socket, CloseReason.SERVER_NAMESPACE_DISCONNECT)

    def close(
        self, code: int, reason: CloseReason = CloseReason.FORCED_CLOSE, detail: str = ""
    ) -> None:
        """Close the whole connection with a code, after telling each namespace."""
        if self.connection.closed:
            return
        self._close_code = code
        for socket in list(self.sockets.values()):
            socket.namespace.closing(socket, code, detail or str(reason))
        self._take(self.connection.close(reason, detail))
        self._flush()

    def is_slow(self) -> None:
        """The reader is too slow: drop what waits, say 4410 if it ever reads again, then let go."""
        if self._close_code == CLOSE_SLOW_READER:
            self.abort()
            return
        self.node.policy.slow_reader(self)
        if self._transport is not None:
            self._transport.discard()
        self.close(CLOSE_SLOW_READER, CloseReason.TRANSPORT_ERROR, "slow reader")
        self.node.timers.after(self.node.outbox_limits.write_deadline_s, self.abort)

    def abort(self) -> None:
        """Let go of a peer that takes nothing, without a closing handshake where possible."""
        if self._transport is not None:
            self._transport.abort()
        if self.handshake.abort is not None:
            self.handshake.abort()

    async def drained(self) -> None:
        """Return when the outbox is empty."""
        if self._transport is not None:
            await self._transport.drained()

    # -- events of the connection

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            self._routes[type(event)](self, event)

    def _on_connect(self, event: ConnectReceived) -> None:
        namespace = self.node.namespaces[event.namespace]
        socket = Socket(namespace, self, secrets.token_urlsafe(15))
        self._do(socket, lambda: self._join(socket, event.auth), None)

    def _on_event(self, event: EventReceived) -> None:
        socket = self.sockets.get(event.namespace)
        if socket is None:
            return
        if self._worker is not None and len(self._inbox) >= self.node.inbox_limit:
            socket.namespace.throttled(socket, event.ack_id, INBOX_RETRY_MS)
            return
        handle = socket.namespace.handle
        self._do(socket, lambda: handle(socket, event.args, event.ack_id), event.ack_id)

    def _on_ack(self, event: AckReceived) -> None:
        waiting = self._waiting_acks.get(event.ack_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(event.args)

    def _on_disconnect(self, event: DisconnectReceived) -> None:
        socket = self.sockets.get(event.namespace)
        if socket is not None:
            self._part(socket, CloseReason.CLIENT_NAMESPACE_DISCONNECT)

    def _on_throttled(self, event: Throttled) -> None:
        socket = self.sockets.get(event.namespace)
        if socket is not None:
            socket.namespace.throttled(socket, event.ack_id, event.retry_after_ms)

    def _on_nothing(self, event: PongReceived | UnknownAck) -> None:
        """A pong has already moved the heartbeat; a late acknowledgement means nothing."""

    def _on_closed(self, event: Closed) -> None:
        if self._timer is not None:
            self._timer.cancel()
        code = self._close_code or self.node.policy.close_code(event)
        if self._close_code is None:
            self._say_goodbye(code, event)
        self._inbox.clear()
        for socket in list(self.sockets.values()):
            self._part(socket, event.reason)
        for waiting in self._waiting_acks.values():
            waiting.cancel()
        self.node.forget(self, event)
        if self._transport is not None:
            self._flush()
            self._transport.close(code)

    def _say_goodbye(self, code: int, event: Closed) -> None:
        """The connection closed itself; namespaces may still write ready frames to the outbox."""
        self._flush()
        for socket in self.sockets.values():
            socket.namespace.closing(socket, code, event.detail)

    _routes: dict[type, Callable[["Session", Any], None]] = {  # noqa: RUF012 - a constant table
        ConnectReceived: _on_connect,
        EventReceived: _on_event,
        AckReceived: _on_ack,
        UnknownAck: _on_nothing,
        DisconnectReceived: _on_disconnect,
        Throttled: _on_throttled,
        PongReceived: _on_nothing,
        Closed: _on_closed,
    }

    # -- handlers, one at a time

    def _do(self, socket: Socket[Any], step: Step, ack_id: int | None) -> None:
        if self._worker is not None:
            self._inbox.append((socket, step, ack_id))
            return
        try:
            result = step()
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its own socket only
            self._fail(socket, error)
            return
        if is_awaitable(result):
            work = self._work(socket, result, ack_id)  # type: ignore[arg-type]  # just tested
            self._worker = asyncio.get_running_loop().create_task(work)
        else:
            self._answer(socket, result, ack_id)  # type: ignore[arg-type]  # just tested

    async def _work(
        self, socket: Socket[Any], first: Awaitable[Result], ack_id: int | None
    ) -> None:
        try:
            await self._finish(socket, first, ack_id)
            while self._inbox:
                socket, step, ack_id = self._inbox.popleft()
                await self._finish(socket, step, ack_id)
        finally:
            self._worker = None

    async def _finish(
        self, socket: Socket[Any], step: Step | Awaitable[Result], ack_id: int | None
    ) -> None:
        try:
            result: Any = step() if callable(step) else step
            if is_awaitable(result):
                result = await result
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its own socket only
            self._fail(socket, error)
        else:
            self._answer(socket, result, ack_id)

    def _answer(self, socket: Socket[Any], result: Result, ack_id: int | None) -> None:
        if result is not None and ack_id is not None and socket.connected:
            self.acknowledge(socket.namespace.name, ack_id, result.args)

    def _fail(self, socket: Socket[Any], error: Exception) -> None:
        log.error("a handler of %s failed", socket.namespace.name, exc_info=error)
        socket.namespace.failed(socket, error)
        self.close(CLOSE_INTERNAL_ERROR, detail="internal error")

    # -- joining and parting

    async def _join(self, socket: Socket[Any], auth: dict[str, Any] | None) -> None:
        name = socket.namespace.name
        try:
            socket.state = await socket.namespace.authorize(socket, auth)
        except ConnectionRefused as refused:
            self.connection.refuse(name, refused.message, refused.data)
            self._flush()
            self.node.policy.refused(self, refused)
            return
        if self.connection.closed:
            socket.namespace.left(socket, CloseReason.TRANSPORT_CLOSE)
            return
        self.connection.accept(name, socket.id)
        self.sockets[name] = socket
        socket.connected = True
        self._flush()
        self.node.policy.proved(self)
        await socket.namespace.joined(socket)

    def _part(self, socket: Socket[Any], reason: CloseReason) -> None:
        self.sockets.pop(socket.namespace.name, None)
        socket.connected = False
        for room in list(socket.rooms):
            socket.leave(room)
        try:
            farewell = socket.namespace.left(socket, str(reason))
        except Exception:
            log.exception("leaving %s failed", socket.namespace.name)
            return
        if farewell is not None:
            self.node.background(farewell)

    # -- time and output

    def _set_timer(self) -> None:
        when = self.connection.wakes_at()
        if when is None:
            return
        if self._timer is None or self._timer.callback is None or self._timer.when > when:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.node.timers.at(when, self._tick)

    def _tick(self) -> None:
        self._take(self.connection.tick(self.node.now()))
        self._flush()
        self._set_timer()

    def _flush(self) -> None:
        transport = self._transport
        if transport is not None:
            for frame in self.connection.frames_to_send():
                transport.write(frame)
