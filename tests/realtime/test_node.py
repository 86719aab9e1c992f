"""How a process ends: who is heard out, who is told, who is let go, and what is still done."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from realtime import node as nodes
from realtime.namespaces import Ack, Namespace, Socket, on
from realtime.server import Server
from tests.realtime.asgi import EIO, connect, join, request, settle

HANDSHAKE = EIO.format("polling")
WITHIN_S = 5.0


class Slow(Namespace[None]):
    """Answers when the test lets it, and notes every end in the background."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.noted = 0
        self.crowds: list[int] = []

    @on("wait")
    async def wait(self, socket: Socket[None]) -> Ack:
        await self.gate.wait()
        return Ack("done")

    def closing(self, socket: Socket[None], code: int, reason: str) -> None:
        self.crowds.append(self.node.crowd)
        socket.emit("goodbye", code)

    async def left(self, socket: Socket[None], reason: str) -> None:
        await asyncio.sleep(0)
        self.noted += 1


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def server(slow: Slow) -> AsyncIterator[Server]:
    server = Server(namespaces=[slow])
    yield server
    await server.shutdown(deadline_s=0)


async def open_polling(server: Server) -> str:
    """A session on long-polling; returns the query of its requests."""
    answer = await request(server, "GET", HANDSHAKE)
    sid: str = orjson.loads(answer.body[1:])["sid"]
    return f"{HANDSHAKE}&sid={sid}"


async def ended(stopping: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(WITHIN_S):
        await stopping


async def test_a_handler_in_hand_is_answered_before_the_goodbye(server: Server, slow: Slow) -> None:
    async with connect(server) as socket:
        await join(socket)
        socket.send('420["wait"]')
        await settle()
        stopping = asyncio.create_task(server.shutdown())
        await settle()
        assert socket.waiting() == []
        slow.gate.set()
        await ended(stopping)
        assert [await socket.next(), await socket.next()] == ['430["done"]', '42["goodbye",1012]']
        assert await socket.close_code() == 1012


async def test_a_handler_that_hangs_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "SETTLES_S", 0.01)
    async with connect(server) as socket:
        await join(socket)
        socket.send('420["wait"]')
        await settle()
        await ended(asyncio.create_task(server.shutdown()))
        assert await socket.next() == '42["goodbye",1012]'
        assert await socket.close_code() == 1012


async def test_no_session_begins_while_others_still_end(server: Server, slow: Slow) -> None:
    async with connect(server) as socket:
        await join(socket)
        socket.send('420["wait"]')
        await settle()
        stopping = asyncio.create_task(server.shutdown())
        await settle()
        refused = await request(server, "GET", HANDSHAKE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        async with connect(server) as late:
            assert late.waiting() == ["websocket.close"]
        slow.gate.set()
        await ended(stopping)


async def test_a_refusing_server_goes_on_for_those_who_are_there(server: Server) -> None:
    async with connect(server) as socket:
        await join(socket)
        server.refuse()
        assert (await request(server, "GET", HANDSHAKE)).status == 503
        socket.send('420["wait"]')
        await settle()
        assert server.node().sessions


async def test_a_waiting_poll_brings_the_goodbye(server: Server) -> None:
    query = await open_polling(server)
    await request(server, "POST", query, b"40")
    assert (await request(server, "GET", query)).body.startswith("40")
    poll = asyncio.create_task(request(server, "GET", query))
    await settle()
    await ended(asyncio.create_task(server.shutdown(deadline_s=WITHIN_S)))
    assert (await poll).body == '42["goodbye",1012]\x1e1'


async def test_a_poll_that_comes_a_little_later_brings_it_too(server: Server) -> None:
    query = await open_polling(server)
    await request(server, "POST", query, b"40")
    await request(server, "GET", query)
    stopping = asyncio.create_task(server.shutdown(deadline_s=WITHIN_S))
    await settle()
    assert (await request(server, "GET", query)).body == '42["goodbye",1012]\x1e1'
    await ended(stopping)


async def test_a_polling_client_that_has_gone_is_not_waited_for_long(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "LAST_POLL_S", 0.01)
    await open_polling(server)
    await ended(asyncio.create_task(server.shutdown(deadline_s=WITHIN_S * 2)))


async def test_whoever_does_not_read_is_dropped_at_the_deadline(server: Server) -> None:
    async with connect(server) as socket:
        await join(socket)
        socket.reads.clear()
        await ended(asyncio.create_task(server.shutdown(deadline_s=0.05)))
        assert socket.aborted


async def test_what_the_end_of_sockets_brings_about_is_still_done(
    server: Server, slow: Slow
) -> None:
    async with connect(server) as one, connect(server) as two:
        await join(one)
        await join(two)
        await server.shutdown(deadline_s=WITHIN_S)
        assert slow.noted == 2


async def test_what_hangs_in_the_background_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "BACKGROUND_S", 0.01)
    hangs = asyncio.ensure_future(asyncio.Event().wait())
    server.node().background(hangs)
    await server.shutdown()
    assert hangs.cancelled()


async def test_the_end_knows_how_many_go_at_once(server: Server, slow: Slow) -> None:
    async with connect(server) as one, connect(server) as two:
        await join(one)
        await join(two)
        await server.shutdown(deadline_s=WITHIN_S)
    assert slow.crowds == [2, 2]


async def test_no_deadline_rings_after_the_end(server: Server) -> None:
    rung: list[str] = []
    node = server.node()
    await server.shutdown()
    node.timers.after(0.0, lambda: rung.append("late"))
    await asyncio.sleep(0.01)
    assert (rung, len(node.timers)) == ([], 0)


async def test_a_second_stop_is_harmless(server: Server) -> None:
    server.node()
    await server.shutdown()
    await server.shutdown()
    assert server.running is None


async def test_who_comes_in_the_last_moments_is_told_to_come_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, still_ending = server.node(), asyncio.Event()
    monkeypatch.setattr(node.bus, "stop", still_ending.wait)
    stopping = asyncio.create_task(server.shutdown(deadline_s=0))
    await asyncio.sleep(0)
    assert (await request(server, "GET", HANDSHAKE)).status == 503
    assert server.running is node
    still_ending.set()
    await ended(stopping)
    assert server.running is None


async def test_a_process_that_has_parted_still_answers_and_ends_its_parts_once(
    server: Server, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    async def note() -> None:
        ended.append("once")

    monkeypatch.setattr(slow, "stop", note)
    node = server.node()
    await server.part(deadline_s=0)
    assert server.running is node
    assert (await request(server, "GET", HANDSHAKE)).status == 503
    await server.shutdown(deadline_s=0)
    assert (server.running, ended) == (None, ["once"])
