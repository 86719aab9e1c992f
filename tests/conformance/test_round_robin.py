"""Three processes on a real Redis behind a proxy that takes them in turn, connection by connection.

No client is told of it, and no request is likely to meet the process of its session.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import aiohttp
import pytest

from tests.conformance.clients import CURRENT, run
from tests.conformance.echo_process import running
from tests.conformance.peers import Peer
from tests.conformance.proxies import round_robin

PROCESSES = 3
TIMES = {"ECHO_PING_TIMEOUT_MS": "5000", "ECHO_CONNECT_TIMEOUT_MS": "10000"}


@pytest.fixture
def processes(redis_url: str) -> Iterator[list[str]]:
    """The origins of the processes."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(running("uvicorn", ECHO_REDIS_URL=redis_url, **TIMES))
            for _ in range(PROCESSES)
        ]


@pytest.fixture
async def proxy(processes: list[str]) -> AsyncIterator[str]:
    """The proxy's origin."""
    async with round_robin(processes) as origin:
        yield origin


@pytest.fixture
async def peer(http: aiohttp.ClientSession, proxy: str) -> Peer:
    """A client behind the proxy."""
    return Peer(http, proxy, "/engine.io/")


async def test_polls_and_posts_reach_their_session(peer: Peer) -> None:
    sid, got = await peer.open_polling(), list[str]()
    for number in range(20):
        assert (await peer.post(sid, f"4{number}")).text == "ok"
        while len(got) <= number:
            packets = (await peer.get(sid)).text.split("\x1e")
            got += [packet for packet in packets if packet != "2"]
            if "2" in packets:
                await peer.post(sid, "3")
    assert got == [f"4{number}" for number in range(20)]


async def test_an_upgrade_reaches_its_session_and_keeps_the_order(peer: Peer) -> None:
    sid = await peer.open_polling()
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send("2probe")
        assert await wire.next_packet() == "3probe"
        await peer.post(sid, "\x1e".join(f"4{number}" for number in range(100)))
        await wire.send("5", *(f"4{number}" for number in range(100, 300)))
        got = [await wire.next_packet() for _ in range(300)]
        assert got == [f"4{number}" for number in range(300)]


@pytest.mark.parametrize("mode", ["polling", "upgrade", "websocket"])
async def test_socket_io_client_does_not_notice(
    proxy: str, mode: str, pytestconfig: pytest.Config
) -> None:
    said = await asyncio.to_thread(
        run, "scenarios.mjs", CURRENT, pytestconfig, ECHO_URL=proxy, MODE=mode
    )
    assert {name: error for name, error in said.items() if error} == {}
