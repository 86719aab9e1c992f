"""A proxy that takes processes in turn, connection by connection, and knows no more than that."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

__all__ = ["round_robin"]


@asynccontextmanager
async def round_robin(origins: Sequence[str]) -> AsyncIterator[str]:
    """The proxy's origin while it runs."""
    turns = itertools.cycle(urlsplit(origin).port for origin in origins)
    carrying: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying.add(asyncio.current_task())
        there = await asyncio.open_connection("127.0.0.1", next(turns))
        await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))
        carrying.discard(asyncio.current_task())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in filter(None, carrying):
        task.cancel()
    await asyncio.gather(*filter(None, carrying), return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until either side ends."""
    try:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
