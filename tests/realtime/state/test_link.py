"""The loop's connection to Redis outlives whatever ends one of its connections."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from typing import Any, Self

import pytest
import uvloop

from realtime.state.health import Health
from realtime.state.link import Link
from tests.waiting import soon

RESETS = struct.pack("ii", 1, 0)  # SO_LINGER: closing throws away what is unread, and says so
TURNS = 10  # more than uvloop takes to let go of a connection that was lost
PULSE_S = 0.5  # long enough that the reset finds the connection idle


class Resetting:
    """Answers like Redis, and resets its connections on demand: a killed Redis with work to do."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0?protocol=2"
        return self

    async def reset_while_idle(self, connection: Any) -> None:
        """Returns when the other end knows."""
        reader = connection._reader
        self._reset()
        await soon(lambda: reader.exception() is not None)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def _reset(self) -> None:
        for writer in self._writers:
            plain = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
            writer.transport.abort()
        self._writers.clear()

    async def __aexit__(self, *_exc: object) -> None:
        self._reset()
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while commands := (await reader.read(65_536)).count(b"*"):
            writer.write(b"+OK\r\n" * commands)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Both kinds of loop: each has an exception of its own for a connection that was reset."""
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


async def survives_a_reset() -> None:
    async with Resetting() as redis:
        link = Link(redis.url, health=Health(), pulse_s=PULSE_S)
        try:
            await _survives(link, redis)
        finally:
            await link.aclose()


async def _survives(link: Link, redis: Resetting) -> None:
    for _ in range(2):  # the first pulse is over with the second answer
        assert await link.answer(link.submit("GET", "x")) == b"OK"
    before = link._connection
    assert before is not None
    await redis.reset_while_idle(before)

    async def answers() -> bool:
        asked = link.submit("GET", "x")
        return asked is not None and await asked == b"OK"

    await soon(answers)
    assert link._connection is not before


def test_a_connection_that_was_reset_is_made_anew(runner: asyncio.Runner) -> None:
    runner.run(survives_a_reset())
