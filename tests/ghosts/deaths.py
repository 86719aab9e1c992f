"""Ways to be gone without a word: with one's process, one's network, one's browser."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, Self
from urllib.parse import urlsplit

from tests.live import CHECKOUT, PASSWORD, LiveHub
from tests.sites import Tab

__all__ = ["DEATHS", "Frozen", "browser", "network", "process"]

CHUNK: Final = 65_536
BROWSER: Final = """
import asyncio, sys
from realtime.client import HubClient

async def stay(url, name, password):
    async with HubClient(url) as client:
        await client.sign_in(name, password)
        await client.connect()
        await asyncio.Event().wait()

asyncio.run(stay(*sys.argv[1:]))
"""

Die = Callable[[], Awaitable[None]]


class Frozen:
    """A way to a hub that can be frozen: connections stay open, and nothing passes any more."""

    def __init__(self, hub: LiveHub) -> None:
        self._port = urlsplit(hub.url).port
        self._passable = asyncio.Event()
        self._passable.set()
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def freeze(self) -> None:
        """As when a cable is cut: neither side is told."""
        self._passable.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._passable.wait()
                sink.write(data)
                await sink.drain()
        await self._passable.wait()
        sink.close()


async def process(stack: AsyncExitStack, hub: LiveHub, names: list[str]) -> Die:
    """People whose hub is killed with -9."""
    for name in names:
        await Tab.enter(stack, hub, name)

    async def die() -> None:
        await asyncio.to_thread(hub.kill)

    return die


async def network(stack: AsyncExitStack, hub: LiveHub, names: list[str]) -> Die:
    """People whose network goes silent."""
    way = await stack.enter_async_context(Frozen(hub))
    for name in names:
        await Tab.enter_by(stack, hub, way.url, name)

    async def die() -> None:
        way.freeze()

    return die


async def browser(stack: AsyncExitStack, hub: LiveHub, names: list[str]) -> Die:
    """People whose program is killed with -9."""
    command = [sys.executable, "-c", BROWSER, hub.url]
    programs = [
        await asyncio.create_subprocess_exec(*command, name, PASSWORD, cwd=CHECKOUT)
        for name in names
    ]

    async def die() -> None:
        for program in programs:
            if program.returncode is None:
                program.kill()
                await program.wait()

    stack.push_async_callback(die)

    return die


DEATHS: Final = {"process": process, "network": network, "browser": browser}
