"""What a Django developer writes: handlers, wildcards, hooks, rooms."""

from typing import Any

import pytest

from realtime.namespaces import Ack, Namespace, Socket, on
from realtime.protocol import LocalProtocolError
from realtime.server import Server
from tests.realtime.asgi import connect, join, settle


class Base(Namespace[None]):
    """Handlers of every shape."""

    def __init__(self) -> None:
        self.sockets: list[Socket[None]] = []
        self.unknown: list[tuple[object, list[Any]]] = []

    async def joined(self, socket: Socket[None]) -> None:
        self.sockets.append(socket)

    @on("one")
    def one(self, socket: Socket[None], value: Any) -> Ack:
        return Ack("one", value)

    @on("some", "several")
    def some(self, socket: Socket[None], value: Any = 0, *rest: Any) -> Ack:
        return Ack("some", value, *rest)

    @on("silent")
    def silent(self, socket: Socket[None]) -> None:
        """Says nothing."""

    @on("by hand")
    def by_hand(self, socket: Socket[None]) -> None:
        socket.acknowledge(9, "by hand")

    def unknown_event(
        self, socket: Socket[None], event: object, args: list[Any], ack_id: int | None
    ) -> None:
        self.unknown.append((event, args))


class Wild(Base):
    """Takes what no other handler takes."""

    @on("*")
    async def anything(self, socket: Socket[None], event: object, *args: Any) -> Ack:
        return Ack("*", event, *args)


async def answers(namespace: Base, *frames: str) -> list[str]:
    server = Server(namespaces=[namespace])
    async with connect(server) as socket:
        await join(socket)
        socket.send(*frames)
        await settle()
        got = socket.waiting()
    await server.shutdown(deadline_s=0)
    return got


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ('421["one",5]', '431["one",5]'),
        ('421["some"]', '431["some",0]'),
        ('421["several",1,2,3]', '431["some",1,2,3]'),
    ],
)
async def test_a_handler_gets_the_arguments(frame: str, answer: str) -> None:
    assert await answers(Base(), frame) == [answer]


@pytest.mark.parametrize("frame", ['42["one",5]', '421["silent"]'])
async def test_there_is_no_answer_unless_both_sides_want_one(frame: str) -> None:
    assert await answers(Base(), frame) == []


async def test_a_handler_may_answer_before_it_returns() -> None:
    assert await answers(Base(), '429["by hand"]') == ['439["by hand"]']


@pytest.mark.parametrize(
    ("frame", "call"),
    [
        ('42["two"]', ("two", [])),
        ('42["one"]', ("one", [])),
        ('42["one",1,2]', ("one", [1, 2])),
        ("42[7,1]", (7, [1])),
        ('42["joined"]', ("joined", [])),
    ],
)
async def test_what_no_handler_takes_goes_to_the_hook(frame: str, call: tuple[Any, Any]) -> None:
    namespace = Base()
    assert (await answers(namespace, frame), namespace.unknown) == ([], [call])


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ('421["two",2]', '431["*","two",2]'),
        ('421["one"]', '431["*","one"]'),
        ("421[7]", '431["*",7]'),
        ('421["one",5]', '431["one",5]'),
    ],
)
async def test_a_wildcard_takes_what_is_left(frame: str, answer: str) -> None:
    assert await answers(Wild(), frame) == [answer]


async def test_rooms_are_entered_and_left_and_end_with_the_membership() -> None:
    namespace = Base()
    server = Server(namespaces=[namespace])
    async with connect(server) as first, connect(server) as second:
        await join(first)
        await join(second)
        one, two = namespace.sockets
        for socket in (one, one, two):
            socket.join("red")
        two.leave("red")
        two.leave("red")
        namespace.broadcast(["red"], "news")
        namespace.broadcast([two.id], "for you")
        namespace.emit("all", without=[one.id])
        assert (first.waiting(), second.waiting()) == (
            ['42["news"]'],
            ['42["for you"]', '42["all"]'],
        )
        first.send("41")
        await settle()
        assert (one.rooms, one.connected) == (set(), False)
        one.join("red")
        one.emit("lost")
        one.acknowledge(1)
        one.disconnect()
        namespace.broadcast(["red", one.id], "lost")
        assert (first.waiting(), one.rooms) == ([], set())
    await server.shutdown(deadline_s=0)


async def test_reserved_names_and_what_json_cannot_carry_are_the_callers_fault() -> None:
    namespace = Base()
    server = Server(namespaces=[namespace])
    async with connect(server) as socket:
        await join(socket)
        for event, args in [("disconnect", ()), ("e", (object(),))]:
            with pytest.raises(LocalProtocolError):
                namespace.sockets[0].emit(event, *args)
            with pytest.raises(LocalProtocolError):
                namespace.emit(event, *args)
        namespace.sockets[0].emit("e")
        assert socket.waiting() == ['42["e"]']
    await server.shutdown(deadline_s=0)
