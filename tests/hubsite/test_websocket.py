"""The short way of frames between uvicorn's WebSocket and a session, on a transport of paper."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.frames import Close, Frame, Opcode

from hubsite import websocket
from hubsite.websocket import (
    LARGEST_FLUSH,
    MOST_CONTROLS,
    MOST_DISCARDED,
    MOST_FRAGMENTS,
    HubWebSocket,
)
from realtime.answers import deny
from realtime.direct import shared
from realtime.handshake import DIRECT_EXTENSION, Denial
from tests.waiting import soon

UPGRADE = (
    b"GET /socket.io/ HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TURNS = 10  # of the loop; enough for a task to start and to meet its next await


class Paper(asyncio.Transport):
    """Keeps what is written, one entry per write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = self.aborted = False
        self.said_all = False

    def write(self, data: Any) -> None:
        assert not self.said_all
        self.writes.append(bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.said_all = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Ends:
    """Both ends of one accepted WebSocket: what the session got, what the peer was written."""

    def __init__(self, *, early: bytes = b"", refuses: bool = False) -> None:
        self.got: list[str | bytes] = []
        self.end: dict[str, Any] | None = None
        self.send: Any = None
        self.paper = Paper()
        self._early = early
        self._refuses = refuses
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            ws=HubWebSocket,
            ws_max_size=200_000,
            ws_per_message_deflate=False,
            log_config=None,
            proxy_headers=False,
        )
        config.load()
        self.socket = HubWebSocket(config=config, server_state=ServerState(), app_state={})

    async def open(self) -> "Ends":
        self.socket.connection_made(self.paper)
        self.socket.data_received(UPGRADE)
        await turn()
        assert self.paper.writes.pop(0).startswith(b"HTTP/1.1 101 ")
        return self

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.send = send
        await receive()
        if self._refuses:
            refusal = Denial(403, 4, "Forbidden")
            await deny(refusal, scope, send)
            return
        await send({"type": "websocket.accept"})
        if self._early:
            self.socket.data_received(self._early)
        scope["extensions"][DIRECT_EXTENSION].listen(self.hear)
        self.end = await receive()

    def hear(self, message: str | bytes) -> None:
        self.got.append(message)

    @property
    def written(self) -> bytes:
        return b"".join(self.paper.writes)


async def turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def from_peer(data: bytes, *, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def to_peer(data: bytes, *, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, data).serialize(mask=False)


async def test_a_frame_is_handed_over_within_the_read_that_brought_it() -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(b"42[1]") + from_peer(b"\x01", opcode=Opcode.BINARY))
    assert ends.got == ["42[1]", b"\x01"]


async def test_frames_that_came_before_the_session_listened_are_not_lost() -> None:
    ends = await Ends(early=from_peer(b"first") + from_peer(b"second")).open()
    ends.socket.data_received(from_peer(b"third"))
    assert ends.got == ["first", "second", "third"]


async def test_the_answers_to_one_read_leave_in_one_write() -> None:
    ends = await Ends().open()
    ends.hear = lambda message: ends.socket.send_frame(f"re {message!r}")  # type: ignore[method-assign]
    ends.socket.listen(ends.hear)
    ends.socket.data_received(from_peer(b"a") + from_peer(b"b"))
    assert ends.paper.writes == [to_peer(b"re 'a'") + to_peer(b"re 'b'")]


async def test_what_is_held_back_for_one_write_is_bounded() -> None:
    ends = await Ends().open()
    large = "x" * (LARGEST_FLUSH // 2)
    ends.socket.listen(lambda _: ends.socket.send_frame(large))
    ends.socket.data_received(from_peer(b"a") * 4)
    assert [len(each) // len(large) for each in ends.paper.writes] == [2, 2]


async def test_outside_a_read_a_frame_leaves_at_once() -> None:
    ends = await Ends().open()
    ends.socket.send_frame("now")
    ends.socket.send_frame(b"\x00")
    assert ends.written == to_peer(b"now") + to_peer(b"\x00", opcode=Opcode.BINARY)


async def test_a_broadcast_is_encoded_once_for_all_sockets() -> None:
    one, other = await Ends().open(), await Ends().open()
    (frame,) = shared(["42[1]"])
    for ends in (one, other):
        ends.socket.send_frame(frame)
    assert one.written == other.written == to_peer(b"42[1]")
    assert frame.encoded == one.written  # type: ignore[union-attr]  # text is shared as SharedText


async def test_a_close_leaves_behind_what_was_said_before_it() -> None:
    ends = await Ends().open()

    def hear(_message: object) -> None:
        ends.socket.send_frame("last words")
        with pytest.raises(StopIteration):  # it is stepped by hand, as the outbox does it
            ends.send({"type": "websocket.close", "code": 4400}).send(None)

    ends.socket.listen(hear)
    ends.socket.data_received(from_peer(b"a") + from_peer(b"ignored"))
    goodbye = to_peer(Close(4400, "").serialize(), opcode=Opcode.CLOSE)
    assert ends.written == to_peer(b"last words") + goodbye
    assert not ends.socket.ready


async def test_it_is_not_ready_while_the_peer_does_not_read() -> None:
    ends = await Ends().open()
    assert ends.socket.ready
    ends.socket.pause_writing()
    assert not ends.socket.ready
    ends.socket.resume_writing()
    assert ends.socket.ready


async def test_it_is_not_ready_after_the_peer_has_closed_and_asgi_hears_of_it() -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(Close(1000, "").serialize(), opcode=Opcode.CLOSE))
    await turn()
    assert not ends.socket.ready
    assert ends.end is not None
    assert ends.end["type"] == "websocket.disconnect"


async def test_it_is_not_ready_after_the_connection_is_lost() -> None:
    ends = await Ends().open()
    ends.socket.connection_lost(None)
    assert not ends.socket.ready


async def test_a_ping_is_answered_in_its_place() -> None:
    ends = await Ends().open()
    ends.socket.listen(lambda _: ends.socket.send_frame("answer"))
    ends.socket.data_received(from_peer(b"a") + from_peer(b"!", opcode=Opcode.PING))
    assert ends.written == to_peer(b"answer") + to_peer(b"!", opcode=Opcode.PONG)


async def test_fragments_become_one_message() -> None:
    ends = await Ends().open()
    ends.socket.data_received(
        from_peer(b"42", fin=False)
        + from_peer(b"[", opcode=Opcode.CONT, fin=False)
        + from_peer(b"1]", opcode=Opcode.CONT)
    )
    assert ends.got == ["42[1]"]


async def test_a_message_of_endless_empty_fragments_ends_the_connection() -> None:
    ends = await Ends().open()
    empty = from_peer(b"", opcode=Opcode.CONT, fin=False)
    ends.socket.data_received(from_peer(b"4", fin=False) + empty * (MOST_FRAGMENTS + 5))
    assert ends.written.startswith(
        to_peer(Close(1008, "too many fragments").serialize(), opcode=Opcode.CLOSE)
    )
    assert ends.got == []
    assert (ends.paper.said_all, ends.paper.closed) == (True, False)


async def test_text_that_is_not_utf_8_ends_the_connection() -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(b"\xff") + from_peer(b"after"))
    assert ends.written == to_peer(Close(1007, "").serialize(), opcode=Opcode.CLOSE)
    assert ends.got == []


async def test_a_frame_above_the_limit_ends_the_connection() -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(b"x" * 200_001))
    assert ends.written[:1] == b"\x88"
    assert int.from_bytes(ends.written[2:4], "big") == 1009
    assert not ends.socket.ready


async def test_a_restart_ends_the_short_way() -> None:
    ends = await Ends().open()
    ends.socket.shutdown()
    assert not ends.socket.ready


async def test_a_refusal_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    ends = Ends(refuses=True)
    ends.socket.connection_made(ends.paper)
    ends.socket.data_received(UPGRADE)
    await turn()
    assert ends.written.startswith(b"HTTP/1.1 403 ")
    assert (caplog.records, ends.paper.closed) == ([], True)


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
async def test_a_flood_of_pings_or_pongs_ends_the_connection(opcode: Opcode) -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(b"x", opcode=opcode) * MOST_CONTROLS)
    assert not ends.paper.closed
    ends.socket.data_received(from_peer(b"x", opcode=opcode) * 500 + from_peer(b"after"))
    goodbye = to_peer(Close(1008, "too many pings").serialize(), opcode=Opcode.CLOSE)
    assert ends.written.endswith(goodbye)
    assert ends.got == []
    await turn()
    assert (ends.paper.said_all, ends.paper.closed) == (True, False)
    assert ends.end is not None
    assert ends.end["code"] == 1008


async def test_who_was_told_why_and_goes_on_is_read_for_a_while_and_heard_no_more() -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(b"\xff"))
    await turn()
    told = ends.written
    ends.socket.data_received(b"x" * MOST_DISCARDED)
    assert (ends.got, ends.written, ends.paper.closed) == ([], told, False)
    ends.socket.data_received(b"x")
    assert ends.paper.closed


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LETS_GO_S", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_peer_that_said_goodbye_and_does_not_read_is_dropped() -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(Close(1000, "").serialize(), opcode=Opcode.CLOSE))
    await soon(lambda: ends.paper.aborted)


@pytest.mark.usefixtures("impatient")
async def test_a_peer_that_is_closed_and_does_not_read_is_dropped() -> None:
    ends = await Ends().open()
    await ends.send({"type": "websocket.close", "code": 4401})
    await soon(lambda: ends.paper.aborted)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_is_gone_is_not_dropped_once_more() -> None:
    ends = await Ends().open()
    await ends.send({"type": "websocket.close", "code": 4401})
    await turn()
    ends.socket.connection_lost(None)
    assert ends.socket._last_resort is not None
    assert ends.socket._last_resort.cancelled()


async def test_a_stop_in_the_middle_of_a_goodbye_raises_nothing() -> None:
    ends = await Ends().open()
    ends.socket.data_received(from_peer(Close(1000, "").serialize(), opcode=Opcode.CLOSE))
    written = len(ends.paper.writes)
    ends.socket.shutdown()
    assert (ends.paper.closed, len(ends.paper.writes)) == (True, written)
