"""Joining a namespace: the reply comes first, and whoever is refused may try again."""

from typing import Any

import pytest

from realtime.namespaces import ConnectionRefused, Socket
from realtime.policy import Policy
from realtime.server import Server
from tests.realtime.asgi import connect, join, settle
from tests.realtime.sessions.sessions_bench import Room


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
