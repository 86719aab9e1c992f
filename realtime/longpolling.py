"""The long-polling transport of a session: what waits for the next poll, and who may ask for it.

It knows no HTTP. ``realtime.polling`` brings its requests; the session writes to it as to any
transport. While a WebSocket probes, polls are let go, so that the client can move over.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from realtime.outbox import OutboxLimits
from realtime.protocol import Frame, engineio

__all__ = ["Detached", "LongPolling", "Overlap"]

# The Node server looks every 100 ms whether a poll is to be let go for an upgrade. Held as long
# from its beginning, a poll that raced with the client's probe, or with its "5", is answered by
# what became of it.
HOLD_S: Final = 0.1
# What a frame costs besides its bytes. A poll takes all that waits, however many they are, so that
# their number has no bound of its own.
FRAME_COST: Final = 256


class Overlap(Exception):
    """A second poll, or a second POST, while the first one is open."""


class Detached(Exception):
    """The session has moved on to another transport."""


class LongPolling:
    """Frames for one peer between its polls."""

    def __init__(self, *, limits: OutboxLimits, on_slow: Callable[[], None]) -> None:
        self._limits = limits
        self._on_slow = on_slow
        self._frames: list[Frame] = []
        self._size = 0
        self._poll: asyncio.Future[None] | None = None
        self._polled_at = 0.0
        self._taken: asyncio.Future[None] | None = None
        self.posting = False
        self.probed = False
        self.upgrading = False
        self.detached = False
        self.closed = False
        self.sent = 0

    # -- as the session's transport

    @property
    def idle(self) -> bool:
        """A poll waits, and would take a frame at once."""
        return self._poll is not None and not self._frames

    @property
    def lingers(self) -> bool:
        """It was closed between two polls."""
        return self.closed and self._poll is None and bool(self._frames)

    def write(self, frame: Frame) -> None:
        """Keep a frame for the poll that waits, or for the next one."""
        if self.closed:
            return
        self.sent += 1
        self._frames.append(frame)
        self._size += len(frame) + FRAME_COST
        self._wake()
        if self._size > self._limits.size and len(self._frames) > 1:
            self._on_slow()

    def close(self, code: int, reason: str = "") -> None:
        """Let the client know after all that waits; accept nothing more."""
        if not self.closed:
            self.closed = True
            self._frames.append(engineio.CLOSE)
            self._wake()

    def discard(self) -> None:
        """Drop what waits."""
        self._frames = []
        self._size = 0

    def abort(self) -> None:
        """The peer is gone, or says so: an open poll is let go with nothing."""
        self.closed = True
        self.discard()
        self._wake()
        self._have_taken()

    async def drained(self) -> None:
        """Return when a poll has taken all that waits."""
        while self._frames:
            if self._taken is None:
                self._taken = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._taken])

    # -- as the peer's polls see it

    @property
    def polling(self) -> bool:
        """Whether a poll is open."""
        return self._poll is not None

    @property
    def ready(self) -> bool:
        """Whether a poll would be answered at once."""
        return bool(self._frames) or self.closed

    async def poll(self) -> list[Frame]:
        """Wait for frames and take them all; none at all mean that the client should ask again.

        Raises Overlap at once, and Detached when the session has moved over meanwhile.
        """
        if self._poll is not None:
            raise Overlap
        loop = asyncio.get_running_loop()
        self._poll, self._polled_at = loop.create_future(), loop.time()
        try:
            if not self.ready:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HOLD_S if self.upgrading else None):
                        await self._poll
        finally:
            self._poll = None
        if self.detached:
            raise Detached
        return self.take()

    def take(self) -> list[Frame]:
        """Hand over all that waits."""
        frames = self._frames
        self.discard()
        self._have_taken()
        return frames

    def release(self) -> None:
        """Whatever carries the open poll ends: let it return with what there is, or nothing."""
        self._wake()

    # -- as the probing WebSocket sees it

    def let_go(self) -> None:
        """The probe was answered: an open poll, and each later one, is not kept for long."""
        self.upgrading = True
        if self._poll is not None:
            loop = asyncio.get_running_loop()
            loop.call_at(self._polled_at + HOLD_S, _return, self._poll)

    def stay(self) -> None:
        """The probe has failed: everything is as it was."""
        self.probed = self.upgrading = False

    def detach(self) -> list[Frame]:
        """The session moves over; returns what no poll has taken."""
        self.detached = True
        self.closed = True
        frames = self.take()
        self._wake()
        return frames

    def _wake(self) -> None:
        if self._poll is not None:
            _return(self._poll)

    def _have_taken(self) -> None:
        if self._taken is not None:
            self._taken.set_result(None)
            self._taken = None


def _return(poll: "asyncio.Future[None]") -> None:
    if not poll.done():
        poll.set_result(None)
