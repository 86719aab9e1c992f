"""Two real processes on a real Redis: a client goes on at another one than it was on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.conformance.clients import CURRENT, run
from tests.conformance.echo_process import running
from tests.conformance.peers import Peer, Wire
from tests.conformance.proxies import round_robin

CHAT = "docs.examples.chat:application"
HEARD_WITHIN_S = 30.0
TIMES = {"ECHO_PING_TIMEOUT_MS": "5000", "ECHO_CONNECT_TIMEOUT_MS": "10000"}


async def test_socket_io_client_recovers_on_another_process(
    redis_url: str, pytestconfig: pytest.Config
) -> None:
    with (
        running("uvicorn", CHAT, REDIS_URL=redis_url) as one,
        running("uvicorn", CHAT, REDIS_URL=redis_url) as two,
    ):
        async with round_robin([one, two]) as proxy:
            said = await asyncio.to_thread(
                run, "moving.mjs", CURRENT, pytestconfig, PROXY=proxy, ONE=one, TWO=two
            )
    # Each process tells in order; what two of them say at once may come either way round.
    assert said["missed"][0] == said["heard"][0] == "seen"
    assert sorted(said["missed"][1:]) == ["missed 1", "missed 2", "missed 3"]
    assert said["heard"][:4] == said["missed"]
    assert sorted(said["heard"][4:]) == ["live 1", "live 2"]
    assert (said["same"], said["recovered"], said["answer"]) == (True, True, "6 x 7? 42")


async def test_it_recovers_with_its_polls_and_its_upgrade_at_any_process(
    redis_url: str, pytestconfig: pytest.Config
) -> None:
    echo = {"ECHO_REDIS_URL": redis_url, "ECHO_RECOVERY": "1", **TIMES}
    with running("uvicorn", **echo) as one, running("uvicorn", **echo) as two:
        async with round_robin([one, two]) as proxy:
            said = await asyncio.to_thread(
                run, "recovery.mjs", CURRENT, pytestconfig, ECHO_URL=proxy
            )
    assert said["broken"] == {"same": True, "recovered": True}
    assert said["left"] == {"same": False, "recovered": False}


async def test_a_client_goes_on_when_its_process_has_been_stopped(
    http: aiohttp.ClientSession, redis_url: str
) -> None:
    with ExitStack() as first, running("uvicorn", CHAT, REDIS_URL=redis_url) as two:
        one = first.enter_context(running("uvicorn", CHAT, REDIS_URL=redis_url))
        async with (
            entered(http, two, name="grace") as (grace, _),
            entered(http, one, name="ada") as (ada, reply),
        ):
            assert (await event(ada))[:2] == ["welcome", "ada"]
            await until(grace, "arrived")
            await grace.send('42/chat,["say","seen"]')
            seen = await until(ada, "said")
            await asyncio.to_thread(first.close)  # SIGTERM, and until it has ended
            assert (await until(grace, "gone"))[:3] == ["gone", "ada", "transport close"]
            await grace.send('42/chat,["say","missed"]')
            again = {"name": "ada", "pid": reply["pid"], "offset": seen[-1]}
            async with connected(http, two, again) as back:
                assert (await event(back))[:2] == ["gone", "ada"]
                assert (await event(back))[:3] == ["said", "grace", "missed"]
                assert await joined(back) == reply


@asynccontextmanager
async def connected(
    http: aiohttp.ClientSession, origin: str, auth: dict[str, Any]
) -> AsyncIterator[Wire]:
    async with Peer(http, origin, "/socket.io/").opened() as wire:
        await wire.send(f"40/chat,{json.dumps(auth)}")
        yield wire


@asynccontextmanager
async def entered(
    http: aiohttp.ClientSession, origin: str, **auth: Any
) -> AsyncIterator[tuple[Wire, dict[str, Any]]]:
    async with connected(http, origin, auth) as wire:
        yield wire, await joined(wire)


async def joined(wire: Wire) -> dict[str, Any]:
    frame = str(await wire.next_packet())
    assert frame.startswith("40/chat,"), frame
    reply: dict[str, Any] = json.loads(frame.removeprefix("40/chat,"))
    return reply


async def event(wire: Wire) -> list[Any]:
    """The next event, with its offset."""
    frame = str(await wire.next_packet())
    assert frame.startswith("42/chat,"), frame
    args: list[Any] = json.loads(frame.removeprefix("42/chat,"))
    return args


async def until(wire: Wire, name: str) -> list[Any]:
    """The next event of that name."""
    async with asyncio.timeout(HEARD_WITHIN_S):
        while (args := await event(wire))[0] != name:
            pass
    return args
