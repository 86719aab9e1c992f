"""An engine and a hub for it, on a loopback port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.sdk import Engine
from tests.engine.fake_hub import DEADLINE_S, NAME, QUICK, FakeHub, Running


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    fake = FakeHub()
    await fake.start()
    yield fake
    await fake.stop()
    assert fake.faults == []


@pytest.fixture
def engine(hub: FakeHub) -> Engine:
    return Engine(hub.url, NAME, hub.secret, version="test", timing=QUICK)


@pytest.fixture
def running() -> Running:
    return _running


@asynccontextmanager
async def _running(engine: Engine) -> AsyncIterator["asyncio.Task[None]"]:
    """Run the engine beside the test, then stop it whatever state it is in."""
    task = asyncio.create_task(engine.run())
    try:
        yield task
    finally:
        engine.stop(now=True)
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(task, return_exceptions=True)
