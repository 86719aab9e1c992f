"""Bare Engine.IO: messages in, messages out, text and bytes told apart."""

from collections.abc import AsyncIterator

import pytest

from realtime.engineserver import EngineServer, MessageSession
from realtime.protocol import Frame
from tests.realtime.asgi import connect, settle


@pytest.fixture
def heard() -> list[Frame]:
    return []


@pytest.fixture
async def server(heard: list[Frame]) -> AsyncIterator[EngineServer]:
    def hear(session: MessageSession, message: Frame) -> None:
        heard.append(message)
        session.send(message)

    server = EngineServer(on_message=hear)
    yield server
    await server.shutdown(deadline_s=0)


async def test_messages_come_back_as_what_they_were(
    server: EngineServer, heard: list[Frame]
) -> None:
    async with connect(server) as socket:
        await socket.next()
        socket.send("4text", b"bytes", "4", "bAQID")
        assert [await socket.next() for _ in range(4)] == ["4text", b"bytes", "4", b"\x01\x02\x03"]
    assert heard == ["text", b"bytes", "", b"\x01\x02\x03"]


async def test_no_socket_io_is_spoken(server: EngineServer, heard: list[Frame]) -> None:
    async with connect(server) as socket:
        await socket.next()
        socket.send("40")
        assert await socket.next() == "40"
    assert heard == ["0"]


async def test_what_is_sent_after_the_end_is_dropped(server: EngineServer) -> None:
    async with connect(server) as socket:
        await socket.next()
        (session,) = server.node().sessions.values()
    await settle()
    assert isinstance(session, MessageSession)
    session.send("too late")
    assert "4too late" not in socket.waiting()
