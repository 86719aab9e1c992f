"""Peers that do not read end, and nobody else notices."""

from realtime.outbox import OutboxLimits
from realtime.server import Server
from tests.realtime.asgi import clocked, connect, join, settle
from tests.realtime.sessions.sessions_bench import Room


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
