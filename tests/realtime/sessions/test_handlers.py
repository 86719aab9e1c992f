"""Handlers run in order, answers go both ways, and a fault stays at home."""

import asyncio

import pytest

from realtime.server import Server
from tests.realtime.asgi import WebSocket, clocked, connect, join, settle
from tests.realtime.sessions.sessions_bench import Room


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
