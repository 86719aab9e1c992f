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
    carrying: dict[asyncio.Task[None] | None, tuple[asyncio.StreamWriter, ...]] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", next(turns))
        task = asyncio.current_task()
        carrying[task] = (writer, there[1])
        await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))
        del carrying[task]

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for writer in itertools.chain(*carrying.values()):
        writer.close()
    await asyncio.gather(*filter(None, carrying))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until either side ends."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
