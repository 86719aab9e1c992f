"""The short way between a server's WebSocket and a session, where the server offers one.

ASGI hands every frame through a queue, a dictionary and a task. A server that can do without offers
a ``Wire`` under DIRECT_EXTENSION of the scope: it calls the session with each frame as it comes and
takes frames as they are made. Everything else stays with ASGI: the handshake, every close, and
sending to a peer that does not read, so the bounds of the outbox hold on both ways. Daphne and
plain uvicorn offer no wire, and nothing is missing there but the speed.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from realtime.outbox import Outbox, OutboxLimits, Send
from realtime.protocol import Frame

__all__ = ["DirectOutbox", "SharedText", "Wire", "shared"]


class Wire(Protocol):
    """What a server offers for one WebSocket that it has accepted."""

    @property
    def ready(self) -> bool:
        """Whether the connection is open and its buffer below the mark; else use ASGI's send."""

    def send_frame(self, frame: Frame) -> None:
        """Send a frame. Only while ``ready``; never waits."""

    def listen(self, receive: Callable[[Frame], None]) -> None:
        """Hand over every frame as it comes, beginning with those that wait for ASGI's receive.

        ``receive`` does not wait, so nothing piles up; ends of the connection still go to ASGI.
        """


class DirectOutbox(Outbox):
    """An outbox that writes to the wire, and takes the way with the bounds when that is full."""

    __slots__ = ("_wire",)

    def __init__(
        self,
        wire: Wire,
        send: Send,
        *,
        limits: OutboxLimits,
        on_slow: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> None:
        super().__init__(send, limits=limits, on_slow=on_slow, on_gone=on_gone)
        self._wire = wire

    def write(self, frame: Frame) -> None:
        """Send a frame, or queue it behind others. After a close it is dropped silently."""
        wire = self._wire
        if wire.ready and self._writer is None and not self.closed:
            self.sent += 1
            wire.send_frame(frame)
        else:
            super().write(frame)


class SharedText(str):
    """A text frame for many, with a place for the bytes that a server makes of it once for all."""

    __slots__ = ("encoded",)

    encoded: bytes | None


def shared(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    """The frames of a broadcast, so that a wire need not encode text again for each member."""
    return tuple(_shared_text(each) if isinstance(each, str) else each for each in frames)


def _shared_text(text: str) -> SharedText:
    frame = SharedText(text)
    frame.encoded = None
    return frame
