"""A server that begins with its process and says goodbye when that ends."""

import asyncio
from typing import Any

from realtime.namespaces import Namespace
from realtime.server import Server
from tests.realtime.asgi import connect, join


async def test_the_node_begins_and_ends_with_the_process() -> None:
    server = Server(namespaces=[Namespace()])
    coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    life = asyncio.create_task(server.lifespan({"type": "lifespan"}, coming.get, said.put))
    coming.put_nowait({"type": "lifespan.startup"})
    assert await said.get() == {"type": "lifespan.startup.complete"}
    assert server.running is not None
    async with connect(server) as socket:
        await join(socket)
        coming.put_nowait({"type": "lifespan.shutdown"})
        assert await socket.close_code() == 1012
        assert await said.get() == {"type": "lifespan.shutdown.complete"}
    await life
    assert server.running is None
