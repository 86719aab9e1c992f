"""One Engine.IO session with its Socket.IO namespaces: frames in, events out, and back.

Section "Connection to a namespace" of Socket.IO v5, on top of `realtime.protocol.engine`. No
socket, no clock, no task: the shell brings frames and the time, drains `frames_to_send()` and obeys
`wakes_at()`.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from realtime.protocol import engineio, socketio
from realtime.protocol.engine import EngineConnection, Meter
from realtime.protocol.engineio import Frame
from realtime.protocol.errors import (
    ConnectedTwice,
    ConnectErrorFromClient,
    NamespaceNotJoined,
    NoConnectPending,
    NotJoined,
    TooManyNamespaces,
    UnexpectedBinary,
    UnexpectedText,
)
from realtime.protocol.events import (
    AckReceived,
    Closed,
    ConnectReceived,
    DisconnectReceived,
    Event,
    EventReceived,
    Throttled,
    UnknownAck,
)
from realtime.protocol.limits import Limits
from realtime.protocol.reasons import CloseReason

__all__ = ["INVALID_NAMESPACE", "Connection", "Meter", "Namespaces"]

# The Node server's message for a namespace that it does not have.
INVALID_NAMESPACE: Final = "Invalid namespace"

# How many connect timeouts a CONNECT may wait for our answer: at the hub's 5 s as long as stock
# clients wait themselves, 20 s.
ANSWER_PATIENCE: Final = 4

Namespaces: TypeAlias = Container[str] | Callable[[str], bool]

_MESSAGE: Final = engineio.PacketType.MESSAGE
_EVENT: Final = socketio.PacketType.EVENT
_BINARY_EVENT: Final = socketio.PacketType.BINARY_EVENT
_CONNECT: Final = socketio.PacketType.CONNECT
_CONNECT_ERROR: Final = socketio.PacketType.CONNECT_ERROR
_DISCONNECT: Final = socketio.PacketType.DISCONNECT


class _Membership:
    """A joined namespace: our id on it, and the acknowledgements we wait for."""

    __slots__ = ("awaited", "socket_id")

    def __init__(self, socket_id: str) -> None:
        self.socket_id = socket_id
        self.awaited: set[int] = set()


class Connection(EngineConnection):
    """The server's side of one session.

    `sid` is the Engine.IO id, secret and never a Socket.IO id. `namespaces` says which ones exist.
    Once closed, commands do nothing, as in the base class.
    """

    def __init__(
        self,
        *,
        sid: str,
        limits: Limits,
        namespaces: Namespaces,
        now: float,
        meter: Meter | None = None,
        upgrades: Sequence[str] = (),
    ) -> None:
        super().__init__(sid=sid, limits=limits, now=now, meter=meter, upgrades=upgrades)
        self._exists = namespaces if callable(namespaces) else namespaces.__contains__
        self._opened_at = now
        self._ever_joined = False
        self._pending: set[str] = set()
        self._memberships: dict[str, _Membership] = {}
        self._partial: socketio.Reassembly | None = None
        self._next_ack_id = 0

    # State

    @property
    def joined(self) -> Mapping[str, str]:
        """The joined namespaces, in the order of joining, each with its Socket.IO id."""
        return {name: member.socket_id for name, member in self._memberships.items()}

    # Frames in

    def _receive_message(self, data: Frame, size: int, now: float) -> Sequence[Event]:
        if isinstance(data, bytes):
            return self._receive_attachment(data, size, now)
        if self._partial is not None:
            raise UnexpectedText
        header = socketio.decode_header(data, max_attachments=self._limits.max_attachments)
        packet_type, attachments, namespace, ack_id, _ = header
        pause = 0 if self._meter is None else self._meter(packet_type, size, now)
        if packet_type is _CONNECT:
            return self._receive_connect(header, data)
        self._must_be_joined(packet_type, namespace)
        if pause > 0 and (packet_type is _EVENT or packet_type is _BINARY_EVENT):
            if attachments:
                self._partial = socketio.Reassembly(header, None)
            return (Throttled(namespace, ack_id, pause),)
        args = socketio.decode_data(header, data)
        if packet_type is _EVENT:
            return (EventReceived(namespace, args, ack_id),)
        if attachments:
            self._partial = socketio.Reassembly(header, args)
            return ()
        return self._ended(namespace) if packet_type is _DISCONNECT else self._acked(header, args)

    def _must_be_joined(self, packet_type: socketio.PacketType, namespace: str) -> None:
        if packet_type is _CONNECT_ERROR:
            raise ConnectErrorFromClient
        if namespace not in self._memberships:
            raise NotJoined(packet_type.name, namespace)

    def _receive_attachment(self, data: bytes, size: int, now: float) -> Sequence[Event]:
        partial = self._partial
        if partial is None:
            raise UnexpectedBinary
        if self._meter is not None:
            self._meter(_MESSAGE, size, now)
        if not partial.receive(data):
            return ()
        self._partial = None
        header, args = partial.header, partial.finish()
        # Without arguments it was throttled; and we may have left the namespace meanwhile.
        if args is None or header.namespace not in self._memberships:
            return ()
        if header.type is _BINARY_EVENT:
            return (EventReceived(header.namespace, args, header.ack_id),)
        return self._acked(header, args)

    def _receive_connect(self, header: socketio.Header, text: str) -> Sequence[Event]:
        auth: dict[str, Any] | None = socketio.decode_data(header, text)
        namespace = header.namespace
        if namespace in self._memberships or namespace in self._pending:
            raise ConnectedTwice(namespace)
        if not self._exists(namespace):
            self._queue.extend(socketio.encode_connect_error(namespace, INVALID_NAMESPACE))
            return ()
        limit = self._limits.max_namespaces
        if limit is not None and len(self._memberships) + len(self._pending) >= limit:
            raise TooManyNamespaces(limit)
        self._pending.add(namespace)
        return (ConnectReceived(namespace, auth),)

    def _ended(self, namespace: str) -> Sequence[Event]:
        del self._memberships[namespace]
        return (DisconnectReceived(namespace),)

    def _acked(self, header: socketio.Header, args: list[Any]) -> Sequence[Event]:
        # `decode_header` refuses an ACK without an id.
        namespace, ack_id = header.namespace, cast("int", header.ack_id)
        awaited = self._memberships[namespace].awaited
        if ack_id not in awaited:
            return (UnknownAck(namespace, ack_id),)
        awaited.remove(ack_id)
        return (AckReceived(namespace, ack_id, args),)

    # Commands in

    def accept(self, namespace: str, socket_id: str, pid: str | None = None) -> None:
        """Answer a pending CONNECT: the namespace is joined from here on.

        Raises `NoConnectPending`.
        """
        if self._close_reason is None:
            self._answer_connect(namespace)
            self._memberships[namespace] = _Membership(socket_id)
            self._ever_joined = True
            self._queue.extend(socketio.encode_connect(namespace, socket_id, pid))

    def refuse(self, namespace: str, message: str, data: object = None) -> None:
        """Answer a pending CONNECT with a CONNECT_ERROR; the connection stays open.

        Raises `NoConnectPending` or `NotSerialisable`.
        """
        if self._close_reason is None:
            frames = socketio.encode_connect_error(namespace, message, data)
            self._answer_connect(namespace)
            self._queue.extend(frames)

    def emit(self, namespace: str, args: Sequence[Any], ack_id: int | None = None) -> None:
        """Queue an event; `ack_id` comes from `next_ack_id`.

        Raises `NamespaceNotJoined` and what `socketio.encode_event` raises.
        """
        if self._close_reason is None:
            self._membership(namespace)
            self._queue.extend(socketio.encode_event(namespace, args, ack_id))

    def acknowledge(self, namespace: str, ack_id: int, args: Sequence[Any]) -> None:
        """Queue the answer to an event; at most one for each, which the caller ensures.

        Raises `NamespaceNotJoined` and what `socketio.encode_ack` raises.
        """
        if self._close_reason is None:
            self._membership(namespace)
            self._queue.extend(socketio.encode_ack(namespace, ack_id, args))

    def next_ack_id(self, namespace: str) -> int:
        """Return a fresh id whose acknowledgement is awaited from now on.

        Ids start at 0 and count through all namespaces, and through leaving and joining again, so
        that a late answer never meets a younger question. Raises `NamespaceNotJoined`.
        """
        ack_id = self._next_ack_id
        if self._close_reason is None:
            self._membership(namespace).awaited.add(ack_id)
            self._next_ack_id += 1
        return ack_id

    def forget_ack(self, namespace: str, ack_id: int) -> None:
        """Stop waiting for an acknowledgement that came too late; a later one is `UnknownAck`."""
        member = self._memberships.get(namespace)
        if member is not None:
            member.awaited.discard(ack_id)

    def leave(self, namespace: str) -> None:
        """End a namespace from our side; awaited acknowledgements are dropped.

        Raises `NamespaceNotJoined`.
        """
        if self._close_reason is None:
            self._membership(namespace)
            del self._memberships[namespace]
            self._queue.extend(socketio.encode_disconnect(namespace))

    def disconnect_all(self) -> Sequence[Event]:
        """Send a DISCONNECT for every joined namespace, then close: `disconnect(true)` of Node."""
        if self._close_reason is None:
            for namespace in self._memberships:
                self._queue.extend(socketio.encode_disconnect(namespace))
        return self.close(CloseReason.SERVER_NAMESPACE_DISCONNECT)

    def _answer_connect(self, namespace: str) -> None:
        if namespace not in self._pending:
            raise NoConnectPending(namespace)
        self._pending.remove(namespace)

    def _membership(self, namespace: str) -> _Membership:
        member = self._memberships.get(namespace)
        if member is None:
            raise NamespaceNotJoined(namespace)
        return member

    def _close(self, closed: Closed) -> Sequence[Event]:
        self._partial = None
        self._pending.clear()
        self._memberships.clear()
        return super()._close(closed)

    def _namespaces(self) -> tuple[str, ...]:
        return tuple(self._memberships)

    # Time

    def wakes_at(self) -> float | None:
        """Return when to call `tick` next, in the seconds of `now`; `None` once closed."""
        due = super().wakes_at()
        if due is None or self._ever_joined:
            return due
        return min(due, self._join_by())

    def tick(self, now: float) -> Sequence[Event]:
        """Do what is due: queue a ping, or close; early, late and repeated calls are harmless."""
        if not self._ever_joined and now >= self._join_by():
            return self.close(CloseReason.FORCED_SERVER_CLOSE, "no namespace joined in time")
        return super().tick(now)

    def _join_by(self) -> float:
        """When a connection on which nothing was ever joined ends, in the seconds of `now`.

        A peer whose CONNECT waits for our answer has done its part, so it is given longer; not for
        ever, because whoever cannot be answered had better try elsewhere.
        """
        patience = ANSWER_PATIENCE if self._pending else 1
        return self._opened_at + patience * self._limits.connect_timeout_ms / 1000
