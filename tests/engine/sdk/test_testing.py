"""The fake hub for authors of engines: it builds worlds, and sees what an engine does wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.reference import build_reference
from engine.sdk import Engine, JobFailed
from engine.sdk.testing import FakeHub
from engine.worldspec import JobType
from tests.engine.fake_hub import QUICK, Running, nothing
from tests.engine.test_reference import spec


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub("mine") as fake:
        yield fake


async def test_a_whole_world_is_built_by_one_call(hub: FakeHub, running: Running) -> None:
    engine = build_reference(hub.url, hub.name, hub.secret, timing=QUICK)
    async with running(engine):
        await hub.hears("engine_ready")
        built = await hub.build(spec(3))
        again = await hub.build(spec(3), build_id="b2")
    assert built.artifact.startswith(b"glTF")
    assert built.files.keys() == {"artifact", "thumbnail"}
    assert len(built.results) == 5
    assert built == again
    assert hub.faults == []


async def test_a_job_that_fails_is_told_in_the_engines_words(
    hub: FakeHub, running: Running
) -> None:
    engine = Engine(hub.url, hub.name, hub.secret, timing=QUICK)
    engine.job(JobType.BUILD_SCENE.value)(nothing)

    @engine.job(JobType.LOAD_ASSETS.value)
    async def refuse(_job: Any, _context: Any) -> None:
        raise JobFailed("no_assets", "there are none here")

    async with running(engine):
        await hub.hears("engine_ready")
        with pytest.raises(AssertionError, match=r"LOAD_ASSETS.*there are none here"):
            await hub.build(spec(1))


async def test_an_engine_with_another_name_or_secret_is_a_fault(hub: FakeHub) -> None:
    engine = Engine(hub.url, "other", FakeHub().secret, timing=QUICK)
    running = asyncio.create_task(engine.run())
    await hub.until(lambda: len(hub.faults) >= 2)
    engine.stop(now=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert hub.faults[:2] == ["token_request signature", "token_request"]
