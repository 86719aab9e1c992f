"""Connection state recovery: what a short break missed, once, for the same client only.

What a server promises, with the recovery in memory and on Redis; then the one in memory by itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from realtime.namespaces import Namespace, Socket
from realtime.protocol import socketio
from realtime.recovery import Break, MemoryRecovery, Missable, Recovery, RecoveryLimits
from realtime.redisrecovery import RedisRecovery
from realtime.server import Server
from tests.realtime.asgi import WebSocket, clocked, connect, join, settle
from tests.services import RedisServer


class Room(Namespace[dict[str, Any]]):
    """Everybody is who they say."""

    def __init__(self) -> None:
        self.sockets: list[Socket[dict[str, Any]]] = []

    async def authorize(
        self, socket: Socket[dict[str, Any]], auth: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {"name": (auth or {}).get("name", "ada")}

    def identity(self, socket: Socket[dict[str, Any]]) -> str:
        name: str = socket.state["name"]
        return name

    async def joined(self, socket: Socket[dict[str, Any]]) -> None:
        self.sockets.append(socket)


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def in_memory() -> Recovery:
    return MemoryRecovery()


@pytest.fixture
def on_redis(redis_server: RedisServer) -> Recovery:
    return RedisRecovery(redis_server.url)


@pytest.fixture(params=["in_memory", "on_redis"])
async def server(room: Room, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    server = Server(namespaces=[room], recovery=request.getfixturevalue(request.param))
    yield server
    await server.shutdown(deadline_s=0)


async def enter(socket: WebSocket, **auth: str) -> tuple[dict[str, str], list[Any]]:
    """Join; returns the reply, and the events that came before it."""
    await socket.next()
    socket.send("40" + (orjson.dumps(auth).decode() if auth else ""))
    missed = []
    while not (frame := str(await socket.next())).startswith("40"):
        missed.append(orjson.loads(frame[2:]))
    return orjson.loads(frame[2:]), missed


async def break_off(server: Server, room: Room, frame: str = "") -> tuple[dict[str, str], str]:
    """Join, enter a room, see one event, and break off; returns the reply and the offset."""
    async with connect(server) as socket:
        reply, _ = await enter(socket)
        room.sockets[-1].join("lobby")
        room.sockets[-1].state["note"] = "kept"
        room.broadcast(["lobby"], "seen")
        *_, offset = orjson.loads(str(await socket.next())[2:])
        if frame:
            socket.send(frame)
            await settle()
    return reply, offset


async def test_missed_events_come_first_then_the_same_ids_rooms_and_state(
    server: Server, room: Room
) -> None:
    reply, offset = await break_off(server, room)
    room.broadcast(["lobby"], "to my room")
    room.broadcast(["elsewhere"], "to another room")
    room.broadcast(["lobby"], "to all but me", without=[reply["sid"]])
    room.broadcast(["lobby"], "volatile", volatile=True)
    room.broadcast([reply["sid"]], "to me")
    room.emit("to everybody")
    async with connect(server) as socket:
        again, missed = await enter(socket, pid=reply["pid"], offset=offset)
        assert again == reply
        assert [event for event, _ in missed] == ["to my room", "to me", "to everybody"]
        back = room.sockets[-1]
        assert (back.recovered, back.rooms, back.state["note"]) == (True, {"lobby"}, "kept")
        room.broadcast(["lobby"], "live")
        assert str(await socket.next()).startswith('42["live",')


async def test_what_was_sent_to_a_room_before_it_was_entered_is_not_sent_again(
    server: Server, room: Room
) -> None:
    node, clock = clocked(server)
    node.fanout._now = clock.time
    if isinstance(server.recovery, RedisRecovery):
        ahead = time.time() - clock.now
        server.recovery._clock = lambda: clock.now + ahead
    reply, offset = await break_off(server, room)
    async with connect(server) as socket:
        await enter(socket, pid=reply["pid"], offset=offset)
        room.broadcast(["late"], "before")
        clock.push(10)
        room.sockets[-1].join("late")
        room.sockets[-1].join("left")
        room.sockets[-1].leave("left")
        room.broadcast(["late"], "after")
        await socket.next()
    room.broadcast(["left"], "of a room that was left")
    async with connect(server) as socket:
        _, missed = await enter(socket, pid=reply["pid"], offset=offset)
        assert [event for event, _ in missed] == ["after"]


async def test_of_two_that_take_it_up_at_once_one_gets_it(server: Server, room: Room) -> None:
    reply, offset = await break_off(server, room)
    async with connect(server) as first, connect(server) as second:
        replies = await asyncio.gather(
            *(enter(each, pid=reply["pid"], offset=offset) for each in (first, second))
        )
        assert [said for said, _ in replies].count(reply) == 1


async def test_binary_events_are_missed_and_sent_again_like_others(
    server: Server, room: Room
) -> None:
    reply, offset = await break_off(server, room)
    room.broadcast(["lobby"], "bytes", b"\x00\x1e\xff", {"deep": [b"\x01"]})
    async with connect(server) as socket:
        await socket.next()
        socket.send("40" + orjson.dumps({"pid": reply["pid"], "offset": offset}).decode())
        assert str(await socket.next()).startswith('452-["bytes",{"_placeholder":true,"num":0},')
        assert [await socket.next(), await socket.next()] == [b"\x00\x1e\xff", b"\x01"]
        assert orjson.loads(str(await socket.next())[2:]) == reply


async def test_a_session_is_taken_up_once(server: Server, room: Room) -> None:
    reply, offset = await break_off(server, room)
    async with connect(server) as first, connect(server) as second:
        assert (await enter(first, pid=reply["pid"], offset=offset))[0] == reply
        other, _ = await enter(second, pid=reply["pid"], offset=offset)
        assert (other["sid"] != reply["sid"], other["pid"] != reply["pid"]) == (True, True)


async def test_a_restored_session_that_breaks_again_can_be_restored_again(
    server: Server, room: Room
) -> None:
    reply, offset = await break_off(server, room)
    for _ in range(2):
        async with connect(server) as socket:
            assert (await enter(socket, pid=reply["pid"], offset=offset))[0] == reply


@pytest.mark.parametrize(
    "wish",
    [{"offset": ""}, {"pid": "x"}, {"offset": "0"}, {"offset": "a.²"}, {"name": "grace"}],
)
async def test_a_wrong_wish_gives_a_new_session_and_spoils_nothing(
    server: Server, room: Room, wish: dict[str, str]
) -> None:
    reply, offset = await break_off(server, room)
    right = {"pid": reply["pid"], "offset": offset}
    async with connect(server) as wrong, connect(server) as back:
        other, missed = await enter(wrong, **(right | wish))
        assert (other["pid"] != reply["pid"], missed) == (True, [])
        assert (await enter(back, **right))[0] == reply


async def test_without_an_offset_there_is_nothing_to_go_on_from(server: Server, room: Room) -> None:
    reply, _ = await break_off(server, room)
    async with connect(server) as socket:
        assert (await enter(socket, pid=reply["pid"]))[0]["pid"] != reply["pid"]


async def test_who_leaves_by_intent_does_not_come_back(server: Server, room: Room) -> None:
    reply, offset = await break_off(server, room, "41")
    async with connect(server) as socket:
        assert (await enter(socket, pid=reply["pid"], offset=offset))[0]["pid"] != reply["pid"]


async def test_direct_events_have_an_offset_and_questions_none(server: Server, room: Room) -> None:
    async with connect(server) as socket:
        await enter(socket)
        me = room.sockets[0]
        me.emit("direct", b"\x01")
        frame = str(await socket.next())
        assert (frame[:5], await socket.next()) == ("451-[", b"\x01")
        assert len(orjson.loads(frame[4:])) == 3
        me.emit("now or never", volatile=True)
        assert await socket.next() == '42["now or never"]'
        with pytest.raises(TimeoutError):
            await me.call("question", timeout_s=0)
        assert await socket.next() == '420["question"]'


async def test_it_is_off_by_default(room: Room) -> None:
    server = Server(namespaces=[room])
    async with connect(server) as socket:
        reply, _ = await enter(socket)
        room.sockets[0].emit("a")
        assert (reply.keys(), await socket.next()) == ({"sid"}, '42["a"]')
    await server.shutdown(deadline_s=0)


async def test_among_several_processes_a_memory_of_one_restores_nobody(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(namespaces=[room], recovery=MemoryRecovery())
    monkeypatch.setattr("realtime.bus.InMemoryChannelLayer", type("Other", (), {}))
    monkeypatch.setattr("realtime.bus.get_channel_layer", object)
    monkeypatch.setattr("realtime.bus.Bus.start", lambda _self: None)
    assert server.node().recovery is None


# The one in memory


def gone(number: int = 0, at: float = 0.0) -> Break:
    return Break(
        pid=f"p{number}",
        sid="s",
        namespace="/",
        rooms={"r": 0.0},
        identity=None,
        state=None,
        at=at,
    )


async def take(store: MemoryRecovery, offset: str, number: int = 0, now: float = 0.0) -> bool:
    found = await store.take(f"p{number}", offset, namespace="/", identity=None, now=now)
    return found is not None


def record(store: MemoryRecovery, now: float = 0.0) -> str:
    (frame,) = store.record("/", ["e"], rooms=["r"], now=now)
    offset: str = orjson.loads(str(frame)[2:])[-1]
    return offset


async def test_a_break_may_last_so_long_and_no_longer() -> None:
    store = MemoryRecovery(RecoveryLimits(break_s=120))
    offset = record(store)
    store.keep(gone())
    assert not await take(store, offset, now=120.1)
    assert await take(store, offset, now=120.0)


@pytest.mark.parametrize("limits", [RecoveryLimits(events=2), RecoveryLimits(size=60)])
async def test_events_beyond_the_bounds_are_forgotten(limits: RecoveryLimits) -> None:
    store = MemoryRecovery(limits)
    offsets = [record(store) for _ in range(10)]
    store.keep(gone())
    assert len(store._events) <= 3
    assert not await take(store, offsets[0])
    assert await take(store, offsets[-1])


async def test_old_events_are_forgotten() -> None:
    store = MemoryRecovery()
    old = record(store, now=0.0)
    record(store, now=121.0)
    store.keep(gone())
    assert not await take(store, old)


async def test_the_oldest_sessions_make_room_and_old_ones_go() -> None:
    store = MemoryRecovery(RecoveryLimits(sessions=2))
    offset = record(store)
    for number in range(3):
        store.keep(gone(number))
    assert not await take(store, offset, 0)
    assert await take(store, offset, 2)
    store.keep(gone(3, at=500.0))
    assert list(store._breaks) == ["p3"]


async def test_another_epochs_offset_is_unknown() -> None:
    store, before = MemoryRecovery(), MemoryRecovery()
    record(store)
    store.keep(gone())
    assert not await take(store, record(before))


@pytest.mark.parametrize(
    ("rooms", "without", "at", "missed"),
    [
        (["r"], [], 10.0, True),
        (["q", "r"], [], 10.0, True),
        (["q"], [], 10.0, False),
        (["r"], ["s"], 10.0, False),
        (["r"], ["q"], 10.0, True),
        (["r"], [], 9.9, False),
    ],
)
def test_a_break_missed_what_was_for_its_rooms(
    rooms: list[str], without: list[str], at: float, missed: bool
) -> None:
    broken = Break(
        pid="p",
        sid="s",
        namespace="/",
        rooms={"r": 10.0, "s": 5.0},
        identity=None,
        state=None,
        at=20.0,
    )
    assert broken.missed(Missable("/", rooms, without, ("",)), at=at) is missed
    assert not broken.missed(Missable("/x", rooms, without, ("",)), at=at)


async def test_the_frames_are_events_as_ever() -> None:
    frames = MemoryRecovery().record("/x", ["e", 1], rooms=[], now=0.0)
    header = socketio.decode_header(str(frames[0])[1:])
    assert socketio.decode_data(header, str(frames[0])[1:])[:2] == ["e", 1]


async def test_a_server_with_recovery_serves_clients_that_do_not_ask(server: Server) -> None:
    async with connect(server) as socket:
        assert await join(socket)
