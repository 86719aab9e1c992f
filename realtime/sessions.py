"""One live Socket.IO session: arrivals handled in order, departures through one transport.

The wire loop (``receive``) never waits: a handler that waits runs in the session's one worker task,
and what arrives meanwhile queues in the inbox, which is bounded: an event that finds it full is
throttled. Pongs, acknowledgements and closes never queue.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from realtime.enginesessions import EngineSession, Routes
from realtime.fanout import EVERYONE
from realtime.handshake import Handshake
from realtime.namespaces import ConnectionRefused, Result, Socket, is_awaitable
from realtime.protocol import (
    AckReceived,
    Closed,
    CloseReason,
    Connection,
    ConnectReceived,
    DisconnectReceived,
    EventReceived,
    PongReceived,
    Throttled,
    UnknownAck,
)
from realtime.recovery import RECOVERABLE, Break, wish

if TYPE_CHECKING:  # the node makes sessions; at run time they only hold it
    from realtime.node import Node

__all__ = ["Session"]

log = logging.getLogger(__name__)

CLOSE_NORMAL = 1000
CLOSE_INTERNAL_ERROR = 1011
INBOX_RETRY_MS = 1_000  # a full inbox drains at the speed of the handler, which nobody knows

Step = Callable[[], Result | Awaitable[Result | None]]


class Session(EngineSession):
    """The server's side of one client connection with all its namespaces."""

    connection: Connection

    def __init__(self, node: "Node", handshake: Handshake) -> None:
        super().__init__(node, handshake)
        self.sockets: dict[str, Socket[Any]] = {}
        self._inbox: deque[tuple[Socket[Any], Step, int | None]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._waiting_acks: dict[int, tuple[Socket[Any], asyncio.Future[list[Any]]]] = {}

    def connect(self, meter: Any) -> Connection:  # noqa: ANN401 - Meter or None
        """Socket.IO on top of Engine.IO."""
        return Connection(
            sid=self.id,
            limits=self.node.limits,
            namespaces=self.node.namespaces,
            now=self.opened_at,
            meter=meter,
            upgrades=self.upgrades,
        )

    # -- what the sockets ask for

    def emit(self, namespace: str, args: Sequence[Any]) -> None:
        """Send an event at once."""
        self.connection.emit(namespace, args)
        self.flush()

    def acknowledge(self, namespace: str, ack_id: int, args: Sequence[Any]) -> None:
        """Answer a message."""
        self.connection.acknowledge(namespace, ack_id, args)
        self.flush()

    async def call(
        self, socket: Socket[Any], args: Sequence[Any], *, timeout_s: float
    ) -> list[Any]:
        """Send an event, await its acknowledgement. Raises TimeoutError, or ConnectionError."""
        namespace = socket.namespace.name
        ack_id = self.connection.next_ack_id(namespace)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting_acks[ack_id] = socket, answer
        try:
            self.connection.emit(namespace, args, ack_id)
            self.flush()
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            self._waiting_acks.pop(ack_id, None)
            self.connection.forget_ack(namespace, ack_id)

    def disconnect(self, socket: Socket[Any]) -> None:
        """Send a DISCONNECT for one namespace; the connection stays open."""
        self.connection.leave(socket.namespace.name)
        self.flush()
        self._part(socket, CloseReason.SERVER_NAMESPACE_DISCONNECT)

    def disconnect_all(self) -> None:
        """Send a DISCONNECT for each namespace, then close the connection."""
        self._close_code = self._close_code or CLOSE_NORMAL
        self._take(self.connection.disconnect_all())

    # -- events of the connection

    def _on_connect(self, event: ConnectReceived) -> None:
        namespace = self.node.namespaces[event.namespace]
        socket = Socket(namespace, self, secrets.token_urlsafe(15))
        if self._worker is None:
            self._run(socket, None, self._join, socket, event.auth)
        else:
            self._inbox.append((socket, partial(self._join, socket, event.auth), None))

    def _on_event(self, event: EventReceived) -> None:
        socket = self.sockets.get(event.namespace)
        if socket is None:
            return
        handle = socket.namespace.handle
        if self._worker is None:
            self._run(socket, event.ack_id, handle, socket, event.args, event.ack_id)
        elif len(self._inbox) < self.node.inbox_limit:
            step = partial(handle, socket, event.args, event.ack_id)
            self._inbox.append((socket, step, event.ack_id))
        else:
            socket.namespace.throttled(socket, event.ack_id, INBOX_RETRY_MS)

    def _on_ack(self, event: AckReceived) -> None:
        _, answer = self._waiting_acks.get(event.ack_id, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(event.args)

    def _on_disconnect(self, event: DisconnectReceived) -> None:
        socket = self.sockets.get(event.namespace)
        if socket is not None:
            self._part(socket, CloseReason.CLIENT_NAMESPACE_DISCONNECT)

    def _on_throttled(self, event: Throttled) -> None:
        socket = self.sockets.get(event.namespace)
        if socket is not None:
            socket.namespace.throttled(socket, event.ack_id, event.retry_after_ms)

    def _on_unknown_ack(self, event: UnknownAck) -> None:
        """A late acknowledgement means nothing."""

    def closing(self, code: int, reason: str) -> None:
        """Let each namespace say why; the transport still works."""
        for socket in list(self.sockets.values()):
            _try(socket.namespace.closing, socket, code, reason)

    def ended(self, event: Closed) -> None:
        """Fire one disconnect for each joined namespace."""
        self._inbox.clear()
        for socket in list(self.sockets.values()):
            self._part(socket, event.reason)

    _routes: ClassVar[Routes] = {
        ConnectReceived: _on_connect,
        EventReceived: _on_event,
        AckReceived: _on_ack,
        UnknownAck: _on_unknown_ack,
        DisconnectReceived: _on_disconnect,
        Throttled: _on_throttled,
        PongReceived: EngineSession.on_pong,
        Closed: EngineSession.on_closed,
    }

    # -- handlers, one at a time

    def _run(
        self,
        socket: Socket[Any],
        ack_id: int | None,
        step: Callable[..., Any],
        *args: Any,  # noqa: ANN401 - whatever the step takes
    ) -> None:
        try:
            result = step(*args)
            if is_awaitable(result):
                work = self._work(socket, result, ack_id)
                self._worker = asyncio.get_running_loop().create_task(work)
            else:
                self._answer(socket, result, ack_id)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its own socket only
            self._fail(socket, error)

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
            self._answer(socket, result, ack_id)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its own socket only
            self._fail(socket, error)

    def _answer(self, socket: Socket[Any], result: Result, ack_id: int | None) -> None:
        if result is not None and ack_id is not None and socket.connected:
            self.acknowledge(socket.namespace.name, ack_id, result.args)

    def _fail(self, socket: Socket[Any], error: Exception) -> None:
        log.error("a handler of %s failed", socket.namespace.name, exc_info=error)
        _try(socket.namespace.failed, socket, error)
        self.close(CLOSE_INTERNAL_ERROR, detail="internal error")

    async def settled(self) -> None:
        """Return when no handler of this session runs or waits."""
        while self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])

    # -- joining and parting

    async def _join(self, socket: Socket[Any], auth: dict[str, Any] | None) -> None:
        async with self.node.policy.arriving(self):
            if self.closed is None:
                await self._arrive(socket, auth)

    async def _arrive(self, socket: Socket[Any], auth: dict[str, Any] | None) -> None:
        namespace = socket.namespace
        try:
            for middleware in namespace.middlewares:
                await middleware(socket, auth)
            socket.state = await namespace.authorize(socket, auth)
        except ConnectionRefused as refused:
            self.connection.refuse(namespace.name, refused.message, refused.data)
            self.flush()
            self._set_timer()  # the time for joining may have run out while we thought about it
            self.node.policy.refused(self, refused)
            return
        gone = await self._recover(socket, auth)
        if self.closed is not None:  # while we asked who it is
            if gone is not None and self.node.recovery is not None:
                self.node.recovery.keep(gone)
            self._say_left(socket, self.closed.reason)
            return
        self._enter(socket, gone)
        await namespace.joined(socket)

    async def _recover(self, socket: Socket[Any], auth: dict[str, Any] | None) -> Break | None:
        """Go on where a session broke off, if the client asks for it and may."""
        recovery, namespace, wanted = self.node.recovery, socket.namespace, wish(auth)
        if recovery is None:
            return None
        socket.pid = secrets.token_urlsafe(18)
        if wanted is None:
            return None
        found = await recovery.take(
            *wanted,
            namespace=namespace.name,
            identity=namespace.identity(socket),
            now=self.node.now(),
        )
        if found is None:
            return None
        gone, missed = found
        socket.id, socket.pid, socket.recovered = gone.sid, gone.pid, True
        namespace.restore(socket, gone.state)
        self.connection.send_encoded(missed)  # before the reply: the client keeps them till then
        return gone

    def _enter(self, socket: Socket[Any], gone: Break | None) -> None:
        name = socket.namespace.name
        if gone is not None:
            socket.entered = dict(gone.rooms)
        elif self.node.recovery is not None:
            socket.entered = dict.fromkeys([EVERYONE, socket.id], self.node.now())
        self.connection.accept(name, socket.id, socket.pid)
        self.sockets[name] = socket
        socket.connected = True
        self.node.fanout.arrive(name, socket)
        for room in gone.rooms if gone is not None else ():
            if room not in {EVERYONE, socket.id}:
                socket.join(room)
        self.flush()
        self.node.policy.proved(self)

    def _part(self, socket: Socket[Any], reason: CloseReason) -> None:
        self.sockets.pop(socket.namespace.name, None)
        if socket.pid is not None and reason in RECOVERABLE:
            self._keep(socket, socket.pid)
        socket.connected = False
        for room in list(socket.rooms):
            socket.leave(room)
        self.node.fanout.depart(socket.namespace.name, socket)
        if self._inbox:
            self._inbox = deque(entry for entry in self._inbox if entry[0] is not socket)
        for asker, answer in self._waiting_acks.values():
            if asker is socket and not answer.done():
                answer.set_exception(ConnectionError(f"{socket.id} has left: {reason}"))
        self._say_left(socket, reason)

    def _keep(self, socket: Socket[Any], pid: str) -> None:
        recovery, namespace = self.node.recovery, socket.namespace
        if recovery is not None:
            recovery.keep(
                Break(
                    pid=pid,
                    sid=socket.id,
                    namespace=namespace.name,
                    rooms=dict(socket.entered or {}),
                    identity=namespace.identity(socket),
                    state=namespace.keep(socket),
                    at=self.node.now(),
                )
            )

    def _say_left(self, socket: Socket[Any], reason: CloseReason) -> None:
        farewell = _try(socket.namespace.left, socket, str(reason))
        if farewell is not None:
            self.node.background(farewell)


def _try(hook: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - any hook of a namespace
    """Call a hook whose failure must not keep the session from ending; None if it failed."""
    try:
        return hook(*args)
    except Exception:
        log.exception("%s failed", hook.__qualname__)
        return None
