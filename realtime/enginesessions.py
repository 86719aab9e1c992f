"""One live Engine.IO session: frames in from whatever transport carries it, frames out, time.

What is in the messages is the business of subclasses: ``realtime.sessions`` speaks Socket.IO,
``realtime.engineserver`` hands bare messages to a callback.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from realtime.handshake import Denial, Handshake
from realtime.protocol import Closed, CloseReason, EngineConnection, Event, Frame, PongReceived
from realtime.timers import Timer

if TYPE_CHECKING:  # the node makes sessions; at run time they only hold it
    from realtime.node import Node

__all__ = ["EngineSession", "Routes", "Transport"]

CLOSE_SLOW_READER = 4410
CLOSE_UNSAID = 1006  # RFC 6455, 7.1.5: the connection went without a closing handshake
# What a session on long-polling may move on to. ``webtransport`` is not advertised: it needs
# HTTP/3, and the JavaScript client would wait for it before it probes the WebSocket.
UPGRADES = ("websocket",)

Routes = dict[type, Callable[[Any, Any], None]]


class Transport(Protocol):
    """What carries frames to the peer: an outbox on a WebSocket, or on polling requests."""

    sent: int
    """How many frames it has taken."""

    @property
    def idle(self) -> bool:
        """Whether a frame would leave at once."""

    @property
    def lingers(self) -> bool:
        """Whether it was closed with something left that a later request may fetch."""

    def write(self, frame: Frame) -> None:
        """Send a frame, in order."""

    def close(self, code: int, reason: str = "") -> None:
        """Close after what is queued."""

    def discard(self) -> None:
        """Drop what is queued."""

    def abort(self) -> None:
        """Stop at once."""

    async def drained(self) -> None:
        """Return when nothing waits."""


class EngineSession:
    """The server's side of one client's session, which may change its transport once."""

    connection: EngineConnection

    def __init__(self, node: "Node", handshake: Handshake) -> None:
        self.node = node
        self.handshake = handshake
        self.id = node.sids.make()
        self.opened_at = node.now()
        self.received = 0
        self._sent_before = 0
        self.transport: Transport | None = None
        self.closed: Closed | None = None
        self._drop = handshake.abort
        self._timer: Timer | None = None
        self._close_code: int | None = None
        # A policy written for Socket.IO is only ever given sessions that speak it.
        whole: Any = self
        self.policy_state: Any = node.policy.open(whole)
        self.connection = self.connect(node.policy.meter(whole))

    def connect(self, meter: Any) -> EngineConnection:  # noqa: ANN401 - Meter or None
        """The protocol of this session."""
        return EngineConnection(
            sid=self.id,
            limits=self.node.limits,
            now=self.opened_at,
            meter=meter,
            upgrades=self.upgrades,
        )

    @property
    def upgrades(self) -> Sequence[str]:
        """The transports that the client may still move on to."""
        return UPGRADES if self.handshake.transport == "polling" else ()

    def readmit(self, handshake: Handshake) -> Denial | None:
        """What the policy says to a later request of this session."""
        whole: Any = self
        return self.node.policy.readmit(handshake, whole)

    # -- the wire

    def open(self, transport: Transport) -> None:
        """The transport is ready: send the open packet."""
        self.transport = transport
        self.flush()
        self._set_timer()

    def upgrade(
        self, transport: Transport, held: Iterable[Frame], drop: Callable[[], None] | None
    ) -> None:
        """Go on over another transport; what the old one still held leaves first, in order.

        ``drop`` ends the new one's connection without a closing handshake, where that is possible.
        """
        held = list(held)
        self._sent_before = self.sent - len(held)
        self.transport = transport
        self._drop = drop
        self.connection.upgraded(self.node.now())
        for frame in held:
            transport.write(frame)
        self.flush()
        self._set_timer()

    def receive(self, frame: Frame) -> None:
        """Take one frame of a WebSocket. Never waits."""
        self.received += 1
        self._take(self.connection.receive_frame(frame, now=self.node.now()))
        self.flush()

    def receive_payload(self, body: bytes) -> Closed | None:
        """Take the body of a polling request. Never waits. Returns how it closed the session."""
        self.received += 1 + body.count(b"\x1e")
        self._take(self.connection.receive_payload(body, now=self.node.now()))
        self.flush()
        return self.closed

    def lose(self, reason: CloseReason, detail: str = "") -> None:
        """The transport is gone: nothing more can be sent."""
        if self.transport is not None:
            self.transport.abort()
        self._close_code = self._close_code or CLOSE_UNSAID
        self._take(self.connection.close(reason, detail))

    def fail(self, detail: str) -> None:
        """The peer misused the transport, which can still be told so."""
        self._take(self.connection.close(CloseReason.TRANSPORT_ERROR, detail))

    # -- sending and closing

    @property
    def sent(self) -> int:
        """How many frames were sent, or wait to be."""
        return self._sent_before + (0 if self.transport is None else self.transport.sent)

    @property
    def writable(self) -> bool:
        """Whether a frame would leave at once."""
        return self.transport is not None and self.transport.idle

    def send_encoded(self, frames: Collection[Frame], *, volatile: bool = False) -> None:
        """Send frames that are ready for the wire; the hot path of a broadcast."""
        transport = self.transport
        if transport is None or (volatile and not transport.idle):
            return
        for frame in frames:
            transport.write(frame)

    def close(
        self, code: int, reason: CloseReason = CloseReason.FORCED_CLOSE, detail: str = ""
    ) -> None:
        """Close the whole connection with a code."""
        if self.connection.closed:
            return
        self._close_code = code
        self.closing(code, detail or str(reason))
        self._take(self.connection.close(reason, detail))

    def is_slow(self) -> None:
        """The reader is too slow: drop what waits, say 4410 if it ever reads again, then let go."""
        if self.connection.closed:
            self.abort()
            return
        whole: Any = self
        self.node.policy.slow_reader(whole)
        if self.transport is not None:
            self.transport.discard()
        self.close(CLOSE_SLOW_READER, CloseReason.TRANSPORT_ERROR, "slow reader")
        self.node.timers.after(self.node.outbox_limits.write_deadline_s, self.abort)

    def abort(self) -> None:
        """Let go of a peer that takes nothing, without a closing handshake where possible."""
        if self.transport is not None:
            self.transport.abort()
        if self._drop is not None:
            self._drop()

    async def settled(self) -> None:
        """Return when nothing that the peer asked for is still being done."""

    async def drained(self) -> None:
        """Return when the outbox is empty."""
        if self.transport is not None:
            await self.transport.drained()

    def flush(self) -> None:
        """Give the transport what the protocol has queued."""
        transport = self.transport
        if transport is not None:
            for frame in self.connection.frames_to_send():
                transport.write(frame)

    # -- events of the connection

    def closing(self, code: int, reason: str) -> None:
        """The connection is about to be closed, by us or by a fault; the transport still works."""

    def ended(self, event: Closed) -> None:
        """The connection is over."""

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            self._routes[type(event)](self, event)

    def on_pong(self, event: PongReceived) -> None:
        """The next ping may be due before the deadline of this one would have been."""
        self._set_timer()

    def on_closed(self, event: Closed) -> None:
        """The connection has closed itself, or we have."""
        self.closed = event
        if self._timer is not None:
            self._timer.cancel()
        code = self._close_code or self.node.policy.close_code(event)
        if self._close_code is None:
            self.flush()
            self.closing(code, event.detail)
        self.ended(event)
        self.node.forget(self, event)
        if self.transport is not None:
            self.flush()
            self.transport.close(code)
            if self.transport.lingers:
                self._part_with(self.transport)

    def _part_with(self, transport: Transport) -> None:
        """Last words of ours wait for the peer's next poll; who is at fault or gone hears none."""
        if self._close_code is None:
            transport.abort()
        else:
            self.node.linger(self.id, transport)

    _routes: ClassVar[Routes] = {PongReceived: on_pong, Closed: on_closed}

    # -- time

    def _set_timer(self) -> None:
        when = self.connection.wakes_at()
        if when is None:
            return
        if self._timer is None or self._timer.callback is None or self._timer.when > when:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.node.timers.at(when, self.tick)

    def tick(self) -> None:
        """Do what is due; called by the timer, and before a request that it may have missed."""
        self._take(self.connection.tick(self.node.now()))
        self.flush()
        self._set_timer()
