"""Each end of a session has the standard reason, and leaves nothing behind."""

import asyncio

import pytest

from realtime.server import Server
from tests.realtime.asgi import WebSocket, clocked, connect, join, settle
from tests.realtime.sessions.sessions_bench import Room


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
