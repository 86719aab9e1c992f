"""One Engine.IO session without its transport: packets in, messages out, heartbeat, close.

Sections "Heartbeat" and "Protocol" of Engine.IO v4. `EngineConnection` is complete in itself: each
message is a `MessageReceived`. `realtime.protocol.connection` puts Socket.IO on top of it. It is
the same for WebSocket and long-polling, and for a session that upgrades.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from realtime.protocol import engineio, socketio
from realtime.protocol.engineio import Frame
from realtime.protocol.errors import PayloadTooLarge, ProtocolError, WrongDirection
from realtime.protocol.events import Closed, Event, MessageReceived, PongReceived
from realtime.protocol.heartbeat import Heartbeat
from realtime.protocol.limits import Limits
from realtime.protocol.reasons import CloseReason

__all__ = ["EngineConnection", "Meter"]

# (packet type, bytes on the wire, now) -> milliseconds to wait, 0 to go on. Only the answer for an
# EVENT or BINARY_EVENT is obeyed. Attachments come as MESSAGE of Engine.IO.
Meter: TypeAlias = Callable[[engineio.PacketType | socketio.PacketType, int, float], int]

_MESSAGE: Final = engineio.PacketType.MESSAGE


class EngineConnection:
    """The server's side of one Engine.IO session.

    `sid` is secret: who knows it may speak for the session. `upgrades` goes into the open packet,
    which is the first frame to send. `now` is always a monotonic time in seconds. Once closed,
    frames are ignored and commands do nothing, because a caller cannot know that its peer has just
    gone; what was queued before can still be sent.
    """

    def __init__(
        self,
        *,
        sid: str,
        limits: Limits,
        now: float,
        meter: Meter | None = None,
        upgrades: Sequence[str] = (),
    ) -> None:
        self._limits = limits
        self._meter = meter
        self._heartbeat = Heartbeat(limits.ping_interval_ms, limits.ping_timeout_ms, now)
        self._close_reason: CloseReason | None = None
        self._queue: list[Frame] = [engineio.handshake(sid, upgrades, limits)]

    # State

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self._close_reason is not None

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the session is over, `None` while it is not."""
        return self._close_reason

    # Frames in

    def receive_payload(self, body: Frame, *, now: float) -> Iterator[Event]:
        """Take the body of a polling request; yield its packets' events up to the first fault.

        A packet is read when the events of those before it were taken, as on a WebSocket. The size
        of the whole body is the shell's business, which answers 413 while it streams in.
        """
        try:
            for segment in engineio.split_payload(body):
                yield from self.receive_frame(segment, now=now)
                if self._close_reason is not None:
                    return
        except ProtocolError as fault:
            yield from self._fail(fault)

    def receive_frame(self, frame: Frame, *, now: float) -> Sequence[Event]:
        """Take one WebSocket frame, which is one packet; return what it means, often nothing.

        Never raises for what a peer sends: a fault closes the connection and the last event is
        `Closed`.
        """
        if self._close_reason is not None:
            return ()
        try:
            size = engineio.frame_size(frame)
            if size > self._limits.max_payload:
                raise PayloadTooLarge(size, self._limits.max_payload)
            packet_type, data = engineio.decode(frame)
            if packet_type is _MESSAGE:
                return self._receive_message(data, size, now)
            return self._receive_control(packet_type, size, now)
        except ProtocolError as fault:
            return self._fail(fault)

    def _receive_message(self, data: Frame, size: int, now: float) -> Sequence[Event]:
        if self._meter is not None:
            self._meter(_MESSAGE, size, now)
        return (MessageReceived(data),)

    def _receive_control(
        self, packet_type: engineio.PacketType, size: int, now: float
    ) -> Sequence[Event]:
        if self._meter is not None:
            self._meter(packet_type, size, now)
        if packet_type is engineio.PacketType.PONG:
            self._heartbeat.pong(now)
            return (PongReceived(),)
        if packet_type is engineio.PacketType.CLOSE:
            return self.close(CloseReason.TRANSPORT_CLOSE, "the client closed the session")
        if packet_type is engineio.PacketType.PING:
            raise WrongDirection(packet_type.name)
        # OPEN, UPGRADE and NOOP mean nothing here; the Node server ignores them as well.
        return ()

    # Commands in

    def send_encoded(self, frames: Iterable[Frame]) -> None:
        """Queue frames that are ready for the wire; they are trusted."""
        if self._close_reason is None:
            self._queue.extend(frames)

    def upgraded(self, now: float) -> None:
        """Note that another transport carries the session from here on."""
        self._heartbeat.rearm(now)

    def close(self, reason: CloseReason, detail: str = "") -> Sequence[Event]:
        """End the session, by our wish or because the transport is gone; return the `Closed`, once.

        The caller's duty: flush `frames_to_send()`, then close the transport (on polling with a
        last `engineio.CLOSE`).
        """
        return self._close(Closed(reason, detail, self._namespaces()))

    def _fail(self, fault: ProtocolError) -> Sequence[Event]:
        return self._close(Closed(fault.reason, str(fault), self._namespaces(), type(fault)))

    def _close(self, closed: Closed) -> Sequence[Event]:
        if self._close_reason is not None:
            return ()
        self._close_reason = closed.reason
        return (closed,)

    def _namespaces(self) -> tuple[str, ...]:
        """What `Closed` says was joined; there are none below Socket.IO."""
        return ()

    # Frames out

    def frames_to_send(self) -> list[Frame]:
        """Hand over what is queued, one frame per packet; those of one message stand together.

        A WebSocket sends each as it is; a poll joins all with `engineio.encode_payload`.
        """
        if not self._queue:
            return []
        frames, self._queue = self._queue, []
        return frames

    # Time

    def wakes_at(self) -> float | None:
        """Return when to call `tick` next, in the seconds of `now`; `None` once closed."""
        return None if self._close_reason is not None else self._heartbeat.wakes_at()

    def tick(self, now: float) -> Sequence[Event]:
        """Do what is due: queue a ping, or close; early, late and repeated calls are harmless."""
        if self._close_reason is not None:
            return ()
        if self._heartbeat.expired(now):
            return self.close(CloseReason.PING_TIMEOUT, "no pong in time")
        if self._heartbeat.take_ping(now):
            self._queue.append(engineio.PING)
        return ()
