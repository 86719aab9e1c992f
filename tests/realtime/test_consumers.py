"""The WebSocket consumer, and the upgrade from long-polling to it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from realtime.engineserver import EngineServer, MessageSession
from realtime.handshake import Denial, Handshake
from realtime.policy import Policy
from realtime.protocol import Closed, Frame, Limits
from tests.realtime.asgi import EIO, WebSocket, clocked, connect, request, settle

POLLING = EIO.format("polling")
WEBSOCKET = EIO.format("websocket")


class Ends(Policy):
    """Remembers how sessions ended, and refuses what a test says."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.denial: Denial | None = None

    async def admit(self, handshake: Handshake, *, now: float) -> Denial | None:
        return self.denial

    def close(self, session: Any, closed: Closed) -> None:
        self.reasons.append(str(closed.reason))


def echo(session: MessageSession, message: Frame) -> None:
    session.send(message)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
async def server(ends: Ends) -> AsyncIterator[EngineServer]:
    """An echo with a short time for upgrades."""
    limits = Limits(upgrade_timeout_ms=50, max_payload=100)
    server = EngineServer(on_message=echo, policy=ends, limits=limits)
    yield server
    await server.shutdown(deadline_s=0)


async def open_polling(server: EngineServer) -> str:
    answer = await request(server, "GET", POLLING)
    sid: str = orjson.loads(answer.body[1:])["sid"]
    return sid


def session_of(server: EngineServer, sid: str) -> MessageSession:
    session = server.node().sessions[sid]
    assert isinstance(session, MessageSession)
    return session


# A WebSocket of its own


async def test_the_open_packet_is_the_first_frame(server: EngineServer) -> None:
    async with connect(server) as socket:
        opening = orjson.loads(str(await socket.next()).removeprefix("0"))
    assert opening["upgrades"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("EIO=3&transport=abc&sid=x", 0),
        ("EIO=3&transport=websocket&sid=x", 1),
        ("EIO=4&transport=polling", 3),
        ("EIO=3&transport=websocket", 5),
    ],
)
async def test_a_refused_websocket_gets_status_and_code_where_the_server_can_send_them(
    server: EngineServer, query: str, code: int
) -> None:
    extension = {"websocket.http.response": {}}
    async with connect(server, query, **extension) as socket:
        start = socket.frames.get_nowait()
        body = orjson.loads(socket.frames.get_nowait()["body"])
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
    assert body["code"] == code


async def test_a_refused_websocket_is_closed_where_the_server_cannot(server: EngineServer) -> None:
    async with connect(server, "EIO=3&transport=websocket") as socket:
        assert await socket.close_code() == 1013


async def test_the_policy_may_refuse_for_a_while(server: EngineServer, ends: Ends) -> None:
    ends.denial = Denial(503, 4, "Try again later", retry_after_ms=1)
    async with connect(server, **{"websocket.http.response": {}}) as socket:
        start = socket.frames.get_nowait()
    assert (start["status"], (b"retry-after", b"1") in start["headers"]) == (503, True)
    assert server.node().sessions == {}


async def test_a_client_that_leaves_ends_its_session(server: EngineServer, ends: Ends) -> None:
    async with connect(server) as socket:
        socket.leave()
        await settle()
        assert (server.node().sessions, ends.reasons) == ({}, ["transport close"])


async def test_a_write_that_fails_ends_the_session(server: EngineServer, ends: Ends) -> None:
    async with connect(server) as socket:
        await socket.next()
        socket.breaks = OSError("gone")
        socket.send("4a")
        await settle()
        assert ends.reasons == ["transport error"]


async def test_a_frame_over_the_limit_is_closed_1009(server: EngineServer, ends: Ends) -> None:
    async with connect(server) as socket:
        socket.send("4" + "x" * 100)
        assert await socket.close_code() == 1009
    assert ends.reasons == ["transport error"]


async def test_a_client_that_asked_for_text_gets_text(server: EngineServer) -> None:
    async with connect(server, f"{WEBSOCKET}&b64=1") as socket:
        await socket.next()
        socket.send(b"\x01\x02\x03")
        assert await socket.next() == "bAQID"


# The upgrade


def probing(server: EngineServer, sid: str) -> Any:
    return connect(server, f"{WEBSOCKET}&sid={sid}")


async def probe(socket: WebSocket) -> None:
    socket.send("2probe")
    assert await socket.next() == "3probe"


async def test_what_no_poll_took_leaves_over_the_websocket_in_order(server: EngineServer) -> None:
    sid = await open_polling(server)
    session = session_of(server, sid)
    async with probing(server, sid) as socket:
        await probe(socket)
        for message in ("a", b"b", "c"):
            session.send(message)
        assert socket.waiting() == []
        socket.send("5", "4d")
        await settle()
        assert socket.waiting() == ["4a", b"b", "4c", "4d"]


async def test_an_open_poll_is_let_go_by_the_probe(server: EngineServer) -> None:
    sid = await open_polling(server)
    poll = asyncio.create_task(request(server, "GET", f"{POLLING}&sid={sid}"))
    await settle()
    async with probing(server, sid) as socket:
        await probe(socket)
        answer = await poll
        assert (answer.status, answer.body) == (200, "6")


async def test_a_poll_that_overtook_the_probe_is_refused_once_the_client_has_moved(
    server: EngineServer,
) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        poll = asyncio.create_task(request(server, "GET", f"{POLLING}&sid={sid}"))
        await settle()
        await probe(socket)
        await settle()
        socket.send("5")
        assert (await poll).code == 3


async def test_a_poll_that_meets_the_upgrade_is_refused(server: EngineServer) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        poll = asyncio.create_task(request(server, "GET", f"{POLLING}&sid={sid}"))
        await settle()
        assert not poll.done()
        socket.send("5")
        assert (await poll).code == 3


async def test_a_poll_during_the_probe_still_brings_what_there_is(server: EngineServer) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        session_of(server, sid).send("a")
        assert (await request(server, "GET", f"{POLLING}&sid={sid}")).body == "4a"
        socket.send("5")
        await settle()
        assert socket.waiting() == []


async def test_posts_go_on_during_the_probe(server: EngineServer) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        assert (await request(server, "POST", f"{POLLING}&sid={sid}", b"4a")).body == "ok"
        socket.send("5")
        assert await socket.next() == "4a"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_polling_is_over_after_the_upgrade(server: EngineServer, method: str) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        socket.send("5")
        await settle()
        assert (await request(server, method, f"{POLLING}&sid={sid}", b"4a")).code == 3
        socket.send("4b")
        assert await socket.next() == "4b"


@pytest.mark.parametrize(
    "frames", [["4a"], ["5"], ["2"], ["2probe", "4a"], ["2probe", "2probe"], [b"\x01"]]
)
async def test_anything_else_ends_the_probe_only(
    server: EngineServer, ends: Ends, frames: list[Any]
) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        socket.send(*frames)
        assert await socket.close_code() == 1000
    assert ends.reasons == []
    assert (await request(server, "POST", f"{POLLING}&sid={sid}", b"4still")).body == "ok"
    assert (await request(server, "GET", f"{POLLING}&sid={sid}")).body == "4still"


@pytest.mark.parametrize("frames", [[], ["2probe"]])
async def test_a_probe_that_takes_too_long_ends_alone(
    server: EngineServer, ends: Ends, frames: list[Any]
) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        socket.send(*frames)
        assert await socket.close_code() == 1000
    async with probing(server, sid) as socket:
        await probe(socket)
        socket.send("5", "4a")
        assert await socket.next() == "4a"
    assert ends.reasons == ["transport close"]


async def test_a_probing_client_that_leaves_keeps_polling(server: EngineServer) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
    poll = asyncio.create_task(request(server, "GET", f"{POLLING}&sid={sid}"))
    await settle()
    session_of(server, sid).send("a")
    assert (await poll).body == "4a"


async def test_a_second_websocket_is_accepted_then_closed(server: EngineServer) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        async with probing(server, sid) as second:
            assert await second.close_code() == 1000
        socket.send("5", "4a")
        assert await socket.next() == "4a"
        async with probing(server, sid) as third:
            assert await third.close_code() == 1000
        socket.send("4b")
        assert await socket.next() == "4b"


async def test_a_session_that_ended_during_the_probe_is_not_revived(server: EngineServer) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        session_of(server, sid).close(1000)
        socket.send("5")
        assert await socket.close_code() == 1000


async def test_the_heartbeat_goes_on_across_the_upgrade(ends: Ends) -> None:
    server = EngineServer(on_message=echo, policy=ends)
    _, clock = clocked(server)
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        clock.push(25)
        clock.push(19)
        socket.send("5")
        assert await socket.next() == "2"
        clock.push(19)  # a ping that was under way has its whole time again
        socket.send("3")
        await settle()
        clock.push(24.9)
        assert socket.waiting() == []
        clock.push(0.1)
        assert await socket.next() == "2"
        clock.push(20)
        assert (await socket.close_code(), ends.reasons) == (1000, ["ping timeout"])
    await server.shutdown(deadline_s=0)


async def test_an_upgraded_slow_reader_can_still_be_dropped(server: EngineServer) -> None:
    sid = await open_polling(server)
    async with probing(server, sid) as socket:
        await probe(socket)
        socket.send("5")
        await settle()
        session_of(server, sid).abort()
        assert socket.aborted
