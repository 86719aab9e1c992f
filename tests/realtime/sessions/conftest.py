"""What the tests of Socket.IO sessions share: a server with two namespaces, and who joined it."""

from collections.abc import AsyncIterator

import pytest

from realtime.server import Server
from tests.realtime.asgi import WebSocket, connect, join
from tests.realtime.sessions.sessions_bench import Room, Side


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
