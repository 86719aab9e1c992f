"""What one socket has yet to be sent: bounded, and written without a task while the peer reads.

A send is stepped synchronously. Nearly always it ends at once, because the server's buffer takes
the frame; only when it suspends is the rest handed to a task, and frames queue up behind it. A
queue that passes its bounds, or a wait that passes the deadline, means a slow reader: the owner is
told and nothing more is accepted.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from realtime.protocol import Frame, engineio

__all__ = ["Outbox", "OutboxLimits", "TextOutbox"]

log = logging.getLogger(__name__)

CLOSE = "websocket.close"
CLOSE_NORMAL = 1000

Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]

# OSError is the server's way to say that the peer has gone, RuntimeError uvicorn's that it has
# closed the connection itself (a broken or oversized frame); cancelling is ours.
EXPECTED = (OSError, RuntimeError, asyncio.CancelledError)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """How much may wait for a reader: messages, bytes, and seconds for one write."""

    messages: int = 256
    size: int = 1024 * 1024
    write_deadline_s: float = 10.0


class _Rest:
    """The remainder of a coroutine that was stepped once by hand and yielded ``waits_for``."""

    __slots__ = ("_step", "_waits_for")

    def __init__(self, step: Coroutine[Any, Any, None], waits_for: object) -> None:
        self._step = step
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                answer = yield waits_for
            except BaseException as error:  # noqa: BLE001 - whatever reaches the task belongs to the coroutine
                resume = self._throw(error)
            else:
                resume = self._resume(answer)
            if resume is None:
                return
            waits_for = resume[0]

    def _resume(self, answer: object) -> tuple[object] | None:
        try:
            return (self._step.send(answer),)
        except StopIteration:
            return None

    def _throw(self, error: BaseException) -> tuple[object] | None:
        try:
            return (self._step.throw(error),)
        except StopIteration:
            return None


class Outbox:
    """Frames on their way to one peer, in order."""

    __slots__ = (
        "_deadline",
        "_limits",
        "_on_gone",
        "_on_slow",
        "_queue",
        "_send",
        "_size",
        "_writer",
        "closed",
        "sent",
    )

    def __init__(
        self,
        send: Send,
        *,
        limits: OutboxLimits,
        on_slow: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._send = send
        self._limits = limits
        self._on_slow = on_slow
        self._on_gone = on_gone
        self._queue: deque[dict[str, Any]] = deque()
        self._size = 0
        self._writer: asyncio.Task[None] | None = None
        self.closed = False
        self._deadline: asyncio.TimerHandle | None = None
        self.sent = 0

    @property
    def idle(self) -> bool:
        """Everything accepted so far was taken by the server's own buffer."""
        return self._writer is None

    @property
    def lingers(self) -> bool:
        """A WebSocket that is closed is gone."""
        return False

    def write(self, frame: Frame) -> None:
        """Send a frame, or queue it behind others. After a close it is dropped silently."""
        if self.closed:
            return
        self.sent += 1
        message = (
            {"type": "websocket.send", "text": frame}
            if isinstance(frame, str)
            else {"type": "websocket.send", "bytes": frame}
        )
        if self._writer is None:
            self._start(self._send(message))
        else:
            self._enqueue(message, len(frame))

    def close(self, code: int, reason: str = "") -> None:
        """Send a close after everything that is queued; accept nothing more."""
        if self.closed:
            return
        self.closed = True
        message = {"type": CLOSE, "code": code, "reason": reason}
        if self._writer is None:
            self._start(self._farewell(message))
        else:
            self._queue.append(message)

    def discard(self) -> None:
        """Drop what is queued: the reader is too slow to ever see it."""
        self._queue.clear()
        self._size = 0

    def abort(self) -> None:
        """Stop at once; nothing more leaves."""
        self.closed = True
        self.discard()
        if self._writer is not None:
            self._writer.cancel()

    async def drained(self) -> None:
        """Return when nothing waits any more. Errors of the write are not this caller's."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    def _enqueue(self, message: dict[str, Any], size: int) -> None:
        self._queue.append(message)
        self._size += size
        if len(self._queue) > self._limits.messages or self._size > self._limits.size:
            self._on_slow()

    def _start(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            waits_for = step.send(None)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - a peer's connection must not harm who writes to it
            self._gone(error)
            return
        self._expect_reader()
        self._writer = asyncio.get_running_loop().create_task(self._drain(_Rest(step, waits_for)))

    def _expect_reader(self) -> None:
        """Only a socket that does not take a frame at once costs a timer handle."""
        self._forget_deadline()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._limits.write_deadline_s, self._on_slow)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    async def _drain(self, rest: Awaitable[None]) -> None:
        try:
            await rest
            while self._queue:
                await self._send_next()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - as in _start
            self._gone(error)
        finally:
            self._writer = None
            self._forget_deadline()

    async def _send_next(self) -> None:
        message = self._queue.popleft()
        self._size -= _size_of(message)
        self._expect_reader()
        await (self._farewell if message["type"] == CLOSE else self._send)(message)

    async def _farewell(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - Daphne's own: its WebSocket knows 1000 and 3000 to 4999 only
            await self._send({**message, "code": CLOSE_NORMAL})

    def _gone(self, error: BaseException) -> None:
        if not isinstance(error, EXPECTED):
            log.error("a write failed", exc_info=error)
        self.closed = True
        self.discard()
        self._on_gone()


class TextOutbox(Outbox):
    """For a client that asked for text frames only (``b64=1``), as the Node server does it."""

    __slots__ = ()

    def write(self, frame: Frame) -> None:
        """Send a frame; bytes as base64."""
        super().write(frame if isinstance(frame, str) else engineio.binary_as_text(frame))


def _size_of(message: dict[str, Any]) -> int:
    with contextlib.suppress(KeyError):
        return len(message["text"])
    return len(message.get("bytes", b""))
