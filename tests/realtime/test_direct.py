"""The outbox on a wire: at once while the peer reads, the bounded way while it does not."""

import asyncio
from collections.abc import Callable
from typing import Any

from realtime.direct import DirectOutbox, SharedText, shared
from realtime.outbox import OutboxLimits
from realtime.protocol import Frame

LIMITS = OutboxLimits(messages=3, size=1_000, write_deadline_s=60)


class PaperWire:
    """A wire that keeps what it is given, and an ASGI send that waits while it is not ready."""

    def __init__(self) -> None:
        self.ready = True
        self.sent: list[Frame] = []
        self.by_asgi: list[dict[str, Any]] = []
        self.reads = asyncio.Event()

    def send_frame(self, frame: Frame) -> None:
        assert self.ready
        self.sent.append(frame)

    def listen(self, receive: Callable[[Frame], None]) -> None:
        raise AssertionError("the consumer listens, not the outbox")

    async def send(self, message: dict[str, Any]) -> None:
        if not self.ready:
            await self.reads.wait()
        self.by_asgi.append(message)


def outbox_on(wire: PaperWire, on_slow: Callable[[], None] = lambda: None) -> DirectOutbox:
    return DirectOutbox(wire, wire.send, limits=LIMITS, on_slow=on_slow, on_gone=lambda: None)


async def test_while_the_peer_reads_frames_go_to_the_wire() -> None:
    wire = PaperWire()
    outbox = outbox_on(wire)
    outbox.write("a")
    outbox.write(b"b")
    assert (wire.sent, wire.by_asgi, outbox.sent) == (["a", b"b"], [], 2)
    assert outbox.idle


async def test_while_the_peer_does_not_read_frames_wait_in_order_and_then_leave() -> None:
    wire = PaperWire()
    outbox = outbox_on(wire)
    wire.ready = False
    outbox.write("a")
    outbox.write("b")
    assert not outbox.idle
    wire.ready = True
    outbox.write("c")  # must not overtake
    assert wire.sent == []
    wire.reads.set()
    await outbox.drained()
    outbox.write("d")
    assert [message["text"] for message in wire.by_asgi] == ["a", "b", "c"]
    assert wire.sent == ["d"]


async def test_a_peer_that_does_not_read_is_bounded_as_without_a_wire() -> None:
    slow: list[bool] = []
    wire = PaperWire()
    outbox = outbox_on(wire, lambda: slow.append(True))
    wire.ready = False
    for _ in range(1 + LIMITS.messages):
        outbox.write("a")
    assert not slow
    outbox.write("a")
    assert slow
    outbox.abort()
    await outbox.drained()


async def test_after_a_close_nothing_is_written() -> None:
    wire = PaperWire()
    outbox = outbox_on(wire)
    outbox.close(4400)
    outbox.write("late")
    assert wire.sent == []
    assert [message["type"] for message in wire.by_asgi] == ["websocket.close"]


def test_shared_text_is_still_the_text() -> None:
    text, data = shared(("42[1]", b"\x00"))
    assert (text, data) == ("42[1]", b"\x00")
    assert isinstance(text, SharedText)
    assert text.encoded is None
