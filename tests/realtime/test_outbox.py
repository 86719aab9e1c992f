"""What one WebSocket has yet to be sent: in order, bounded, and nobody else's trouble."""

import asyncio
from typing import Any

import pytest

from realtime.outbox import Outbox, OutboxLimits, TextOutbox
from tests.realtime.asgi import settle

LIMITS = OutboxLimits(messages=3, size=100, write_deadline_s=10)


class Peer:
    """Takes messages while ``reads`` is set; raises what a test says."""

    def __init__(self, limits: OutboxLimits = LIMITS, kind: type[Outbox] = Outbox) -> None:
        self.got: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.breaks: Exception | None = None
        self.refuses: int | None = None
        self.slow = self.gone = 0
        self.outbox = kind(self.take, limits=limits, on_slow=self.is_slow, on_gone=self.is_gone)

    def is_slow(self) -> None:
        self.slow += 1

    def is_gone(self) -> None:
        self.gone += 1

    async def take(self, message: dict[str, Any]) -> None:
        if not self.reads.is_set():
            await self.reads.wait()
        if self.breaks is not None:
            raise self.breaks
        if self.refuses is not None and message.get("code") == self.refuses:
            raise ValueError
        self.got.append(message.get("text", message.get("bytes", message.get("code"))))


async def test_a_frame_leaves_at_once_without_a_task() -> None:
    peer, tasks = Peer(), len(asyncio.all_tasks())
    peer.outbox.write("a")
    peer.outbox.write(b"b")
    assert (peer.got, peer.outbox.idle, peer.outbox.sent) == (["a", b"b"], True, 2)
    assert len(asyncio.all_tasks()) == tasks


async def test_frames_behind_a_blocked_one_follow_in_order() -> None:
    peer = Peer()
    peer.reads.clear()
    for frame in ("a", b"b", "c"):
        peer.outbox.write(frame)
    peer.outbox.close(1000)
    peer.outbox.write("after the close")
    await settle()
    assert (peer.got, peer.outbox.idle) == ([], False)
    peer.reads.set()
    await peer.outbox.drained()
    assert (peer.got, peer.outbox.idle) == (["a", b"b", "c", 1000], True)


@pytest.mark.parametrize("frames", [["x"] * 5, ["x", "y" * 101]])
async def test_more_than_the_bounds_is_a_slow_reader(frames: list[str]) -> None:
    peer = Peer()
    peer.reads.clear()
    for frame in frames[:-1]:
        peer.outbox.write(frame)
    assert peer.slow == 0
    peer.outbox.write(frames[-1])
    assert peer.slow == 1
    peer.outbox.abort()
    await settle()


async def test_a_write_that_takes_too_long_is_a_slow_reader() -> None:
    peer = Peer(OutboxLimits(write_deadline_s=0))
    peer.reads.clear()
    peer.outbox.write("a")
    await asyncio.sleep(0.01)
    assert peer.slow == 1
    peer.outbox.abort()
    await settle()


async def test_discarding_keeps_the_close() -> None:
    peer = Peer()
    peer.reads.clear()
    for frame in ("a", "b"):
        peer.outbox.write(frame)
    peer.outbox.discard()
    peer.outbox.close(4410)
    peer.reads.set()
    await peer.outbox.drained()
    assert peer.got == ["a", 4410]


@pytest.mark.parametrize(
    ("error", "logged"), [(OSError(), False), (RuntimeError(), False), (ValueError(), True)]
)
@pytest.mark.parametrize("blocked", [False, True])
async def test_a_write_that_fails_is_told_once_and_raises_for_nobody(
    error: Exception, logged: bool, blocked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    peer = Peer()
    peer.breaks = error
    if blocked:
        peer.reads.clear()
    peer.outbox.write("a")
    peer.reads.set()
    await settle()
    peer.outbox.write("b")
    assert (peer.gone, peer.outbox.closed) == (1, True)
    assert ("a write failed" in caplog.text) == logged


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_server_that_cannot_send_a_code_sends_1000(blocked: bool) -> None:
    peer = Peer()
    peer.refuses = 1012
    if blocked:
        peer.reads.clear()
        peer.outbox.write("a")
    peer.outbox.close(1012)
    peer.reads.set()
    await peer.outbox.drained()
    assert peer.got[-1] == 1000


async def test_an_aborted_outbox_sends_nothing_more() -> None:
    peer = Peer()
    peer.reads.clear()
    peer.outbox.write("a")
    peer.outbox.abort()
    await settle()
    peer.reads.set()
    await peer.outbox.drained()
    assert (peer.got, peer.outbox.lingers) == ([], False)


async def test_a_text_outbox_sends_bytes_as_base64() -> None:
    peer = Peer(kind=TextOutbox)
    peer.outbox.write(b"\x01\x02\x03")
    peer.outbox.write("4a")
    assert peer.got == ["bAQID", "4a"]
