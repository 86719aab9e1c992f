"""One Socket.IO session: handlers in order, answers both ways, faults that stay at home."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.namespaces import Ack, ConnectionRefused, Namespace, Socket, on
from realtime.outbox import OutboxLimits
from realtime.policy import Policy
from realtime.server import Server
from tests.realtime.asgi import WebSocket, clocked, connect, join, settle


class Room(Namespace[dict[str, Any]]):
    """Does whatever a test asks for."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.sockets: list[Socket[Any]] = []
        self.ended: list[str] = []
        self.refused: list[tuple[int | None, int]] = []
        self.failures: list[Exception] = []
        self.broken_hooks = False

    async def authorize(
        self, socket: Socket[dict[str, Any]], auth: dict[str, Any] | None
    ) -> dict[str, Any]:
        if auth and "refuse" in auth:
            raise ConnectionRefused("no", auth["refuse"])
        if auth and auth.get("slow"):
            await self.gate.wait()
        return auth or {}

    async def joined(self, socket: Socket[dict[str, Any]]) -> None:
        self.sockets.append(socket)
        if socket.state.get("greet"):
            socket.emit("welcome")

    def left(self, socket: Socket[dict[str, Any]], reason: str) -> None:
        self.ended.append(reason)
        if self.broken_hooks:
            raise RuntimeError

    def failed(self, socket: Socket[dict[str, Any]], error: Exception) -> None:
        self.failures.append(error)
        if self.broken_hooks:
            raise RuntimeError

    def closing(self, socket: Socket[dict[str, Any]], code: int, reason: str) -> None:
        if self.broken_hooks:
            raise RuntimeError

    def throttled(
        self, socket: Socket[dict[str, Any]], ack_id: int | None, retry_after_ms: int
    ) -> None:
        self.refused.append((ack_id, retry_after_ms))

    @on("echo")
    def echo(self, socket: Socket[Any], *args: Any) -> Ack:
        return Ack(*args)

    @on("wait")
    async def wait(self, socket: Socket[Any], value: int) -> Ack:
        await self.gate.wait()
        return Ack(value)

    @on("raise")
    def fail(self, socket: Socket[Any]) -> None:
        raise ValueError

    @on("raise later")
    async def fail_later(self, socket: Socket[Any]) -> None:
        await asyncio.sleep(0)
        raise ValueError

    @on("unsendable")
    def unsendable(self, socket: Socket[Any]) -> Ack:
        return Ack(object())


class Side(Room):
    """A second namespace."""

    name = "/side"


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
async def server(room: Room) -> AsyncIterator[Server]:
    server = Server(namespaces=[room, Side()], inbox_limit=3)
    yield server
    await server.shutdown(deadline_s=0)


@pytest.fixture
async def peer(server: Server) -> AsyncIterator[WebSocket]:
    """A client that has joined "/"."""
    async with connect(server) as socket:
        await join(socket)
        yield socket


# Joining


async def test_what_joined_emits_follows_the_reply(server: Server) -> None:
    async with connect(server) as socket:
        await socket.next()
        socket.send('40{"greet":true}')
        assert str(await socket.next()).startswith('40{"sid":')
        assert await socket.next() == '42["welcome"]'


async def test_the_socket_id_is_not_the_secret_session_id(server: Server) -> None:
    async with connect(server) as socket:
        socket_id = await join(socket)
        (session_id,) = server.node().sessions
        assert socket_id != session_id
        assert await join(socket, "/side,") not in {socket_id, session_id}


@pytest.mark.parametrize(
    ("auth", "answer"),
    [
        ('{"refuse":{"code":1}}', '44{"message":"no","data":{"code":1}}'),
        ('{"refuse":null}', '44{"message":"no"}'),
    ],
)
async def test_a_refusal_leaves_the_connection_open(server: Server, auth: str, answer: str) -> None:
    async with connect(server) as socket:
        await socket.next()
        socket.send("40" + auth)
        assert await socket.next() == answer
        assert await join(socket)


async def test_middlewares_are_asked_in_order_and_may_refuse(server: Server, room: Room) -> None:
    asked: list[str] = []

    async def first(socket: Socket[Any], auth: Any) -> None:
        asked.append("first")

    async def second(socket: Socket[Any], auth: Any) -> None:
        asked.append("second")
        raise ConnectionRefused("not you")

    room.middlewares = (first, second)
    async with connect(server) as socket:
        await socket.next()
        socket.send("40")
        assert await socket.next() == '44{"message":"not you"}'
    assert (asked, room.sockets) == (["first", "second"], [])


async def test_who_goes_while_it_is_asked_who_it_is_is_seen_off(server: Server, room: Room) -> None:
    async with connect(server) as socket:
        socket.send('40{"slow":true}')
        await settle()
        socket.leave()
        await settle()
        room.gate.set()
        await settle()
    assert (room.sockets, room.ended) == ([], ["transport close"])


# Handlers


async def test_an_event_without_a_handler_is_not_acknowledged(peer: WebSocket) -> None:
    peer.send('421["nobody takes this"]', '422["wait"]', '423["echo",1]')
    assert await peer.next() == "433[1]"


async def test_messages_stay_in_order_behind_a_handler_that_waits(
    peer: WebSocket, room: Room
) -> None:
    peer.send('420["wait",0]', '421["echo",1]', '422["echo",2]')
    await settle()
    assert peer.waiting() == []
    room.gate.set()
    assert [await peer.next() for _ in range(3)] == ["430[0]", "431[1]", "432[2]"]


async def test_pongs_and_answers_do_not_wait_for_a_handler(server: Server, room: Room) -> None:
    _, clock = clocked(server)
    async with connect(server) as peer:
        await join(peer)
        peer.send('420["wait",0]')
        await settle()
        for _ in range(3):
            clock.push(25)
            assert await peer.next() == "2"
            peer.send("3")
            await settle()
        question = asyncio.create_task(room.sockets[0].call("question", timeout_s=5))
        assert await peer.next() == '420["question"]'
        peer.send("430[42]")
        assert await question == [42]
        room.gate.set()
        await settle()


async def test_an_event_that_finds_the_inbox_full_is_throttled(peer: WebSocket, room: Room) -> None:
    peer.send('420["wait",0]', *(f'42{number}["echo",0]' for number in range(1, 6)))
    await settle()
    assert room.refused == [(4, 1_000), (5, 1_000)]
    room.gate.set()
    assert [await peer.next() for _ in range(4)] == ["430[0]", "431[0]", "432[0]", "433[0]"]


@pytest.mark.parametrize("event", ["raise", "raise later", "unsendable"])
async def test_a_handler_that_raises_ends_its_own_socket_only(
    server: Server, room: Room, peer: WebSocket, event: str
) -> None:
    async with connect(server) as victim:
        await join(victim)
        victim.send(f'421["{event}"]', '422["echo",1]')
        assert await victim.close_code() == 1011
    assert (len(room.failures), room.ended) == (1, ["forced close"])
    peer.send('421["echo",1]')
    assert await peer.next() == "431[1]"


async def test_hooks_that_raise_do_not_keep_a_session_from_ending(
    server: Server, room: Room, peer: WebSocket
) -> None:
    room.broken_hooks = True
    peer.send('42["raise"]')
    assert await peer.close_code() == 1011
    assert (room.ended, server.node().sessions) == (["forced close"], {})


async def test_the_rest_of_the_inbox_goes_with_the_membership(peer: WebSocket, room: Room) -> None:
    peer.send('420["wait",0]', '42["raise"]', "41")
    await settle()
    room.gate.set()
    assert await join(peer, "/side,")
    assert (room.failures, room.ended) == ([], ["client namespace disconnect"])


# Questions of ours


async def test_a_question_nobody_answers_times_out_and_a_late_answer_is_ignored(
    peer: WebSocket, room: Room
) -> None:
    with pytest.raises(TimeoutError):
        await room.sockets[0].call("question", 1, timeout_s=0)
    assert await peer.next() == '420["question",1]'
    peer.send('430["late"]', '421["echo"]')
    assert await peer.next() == "431[]"


@pytest.mark.parametrize("goodbye", ["41", "1"])
async def test_a_question_ends_when_its_socket_leaves(
    peer: WebSocket, room: Room, goodbye: str
) -> None:
    question = asyncio.create_task(room.sockets[0].call("question", timeout_s=5))
    await settle()
    peer.send(goodbye)
    with pytest.raises(ConnectionError):
        await question
    with pytest.raises(ConnectionError):
        await room.sockets[0].call("question", timeout_s=5)


# The end, and its reasons


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("41", "client namespace disconnect"),
        ("1", "transport close"),
        ("2", "transport error"),
        ("abc", "parse error"),
        ("42{}", "forced close"),
        ("42/side,[1]", "forced server close"),
    ],
)
async def test_each_end_has_the_standard_reason(
    peer: WebSocket, room: Room, frame: str, reason: str
) -> None:
    peer.send(frame)
    await settle()
    assert room.ended == [reason]


async def test_the_clocks_reasons(server: Server, room: Room) -> None:
    _, clock = clocked(server)
    async with connect(server) as silent, connect(server) as idle:
        await join(silent)
        clock.push(25)
        idle.send("3")
        await settle()
        clock.push(20)
        assert await idle.close_code() == 1000
    assert room.ended == ["ping timeout"]


async def test_the_server_lets_one_namespace_go_or_all(server: Server, room: Room) -> None:
    async with connect(server) as socket:
        await join(socket)
        await join(socket, "/side,")
        room.sockets[0].disconnect()
        assert await socket.next() == "41"
        await join(socket)
        room.sockets[1].disconnect(close=True)
        assert sorted(map(str, [await socket.next(), await socket.next()])) == ["41", "41/side,"]
        assert await socket.close_code() == 1000
    assert room.ended == ["server namespace disconnect"] * 2


async def test_a_stopping_server_says_so(server: Server, room: Room) -> None:
    async with connect(server) as socket:
        await join(socket)
        await server.shutdown(code=1012)
        assert await socket.close_code() == 1012
    assert room.ended == ["server shutting down"]


async def test_the_policy_hears_of_joins_and_refusals() -> None:
    heard: list[str] = []

    class Listener(Policy):
        def proved(self, session: Any) -> None:
            heard.append("proved")

        def refused(self, session: Any, refusal: ConnectionRefused) -> None:
            heard.append(refusal.message)

    server = Server(namespaces=[Room()], policy=Listener())
    async with connect(server) as socket:
        await socket.next()
        socket.send('40{"refuse":null}')
        assert await socket.next() == '44{"message":"no"}'
        await join(socket)
    assert heard == ["no", "proved"]
    await server.shutdown(deadline_s=0)


# Peers that do not read


async def test_a_slow_reader_ends_with_4410_and_nobody_else_notices(room: Room) -> None:
    server = Server(namespaces=[room], outbox_limits=OutboxLimits(messages=10))
    async with connect(server) as slow, connect(server) as quick:
        await join(slow)
        await join(quick)
        slow.reads.clear()
        for number in range(12):
            room.emit("news", number)
        assert [await quick.next() for _ in range(12)] == [f'42["news",{n}]' for n in range(12)]
        assert room.ended == ["transport error"]
        slow.reads.set()
        assert await slow.close_code() == 4410
    await server.shutdown(deadline_s=0)


async def test_a_slow_reader_that_never_reads_again_is_dropped(room: Room) -> None:
    server = Server(namespaces=[room], outbox_limits=OutboxLimits(messages=1))
    _, clock = clocked(server)
    async with connect(server) as slow:
        await join(slow)
        slow.reads.clear()
        for number in range(3):
            room.emit("news", number)
        assert not slow.aborted
        clock.push(10)
        assert slow.aborted
    await server.shutdown(deadline_s=0)


async def test_volatile_events_are_dropped_while_others_wait(room: Room) -> None:
    server = Server(namespaces=[room])
    async with connect(server) as socket:
        await join(socket)
        room.sockets[0].emit("a", volatile=True)
        socket.reads.clear()
        room.sockets[0].emit("b")
        room.sockets[0].emit("c", volatile=True)
        room.emit("d", volatile=True)
        room.emit("e")
        socket.reads.set()
        await settle()
        assert socket.waiting() == ['42["a"]', '42["b"]', '42["e"]']
    await server.shutdown(deadline_s=0)


async def test_nothing_is_left_after_many_connects() -> None:
    room = Room()
    server = Server(namespaces=[room])
    node, tasks = server.node(), len(asyncio.all_tasks())
    for _ in range(200):
        async with connect(server) as socket:
            await join(socket)
            room.sockets[-1].join("a")
    assert (node.sessions, node.fanout._rooms, node.parting) == ({}, {}, {})
    assert len(asyncio.all_tasks()) == tasks
    await server.shutdown(deadline_s=0)
