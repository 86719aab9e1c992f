"""Which attempts are alive, and that each runs once."""

import asyncio
import threading
from typing import Any

import pytest

from engine.sdk import Context, Engine, Job
from tests.engine.fake_hub import FakeHub, Running, nothing


async def test_an_abort_of_an_unknown_attempt_changesnothing(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    engine.job("BUILD_SCENE")(nothing)
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.send("job_abort", {"job_id": "j9", "attempt_id": "a9", "reason": ""})
        await hub.submit()
        await hub.hears("job_completed")


async def test_the_same_attempt_delivered_twice_runs_once(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    release, runs = asyncio.Event(), []

    @engine.job("BUILD_SCENE")
    async def build(job: Job, _context: Context) -> None:
        runs.append(job.attempt_id)
        await release.wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_started")
        await hub.submit()
        await hub.hears("job_ack", count=2)
        release.set()
        await hub.hears("job_completed")
    assert runs == ["a1"]


async def test_an_attempt_delivered_after_its_end_gets_the_same_answer(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    runs = []

    @engine.job("BUILD_SCENE")
    async def build(job: Job, _context: Context) -> dict[str, Any]:
        runs.append(job.attempt_id)
        return {"run": len(runs)}

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_completed")
        await hub.submit()
        again = await hub.hears("job_completed", count=2)
    assert runs == ["a1"]
    assert again.body["result"] == {"run": 1}


async def test_a_new_attempt_at_a_job_replaces_the_old_one(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    release = asyncio.Event()

    @engine.job("BUILD_SCENE")
    async def build(job: Job, _context: Context) -> dict[str, Any]:
        if job.attempt_id == "a1":
            await asyncio.Event().wait()
        return {"by": job.attempt_id}

    hub.acks["job_failed"] = [{"ok": False, "error": "STALE_ATTEMPT"}]
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit("j1", "a1")
        await hub.hears("job_started")
        await hub.submit("j1", "a2")
        done = await hub.hears("job_completed")
        stale = await hub.hears("job_failed")
        release.set()
    assert done.body["attempt_id"] == "a2"
    assert (stale.body["attempt_id"], stale.body["error"]["code"]) == ("a1", "superseded")


async def test_heartbeats_list_what_still_needs_its_lease(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    hub.heartbeat_ms = 20

    @engine.job("BUILD_SCENE")
    def build(_job: Job, context: Context) -> None:
        while not stop.wait(0.001):
            pass

    stop = threading.Event()
    listed = {"attempts": [{"job_id": "j1", "attempt_id": "a1"}]}
    async with running(engine):
        await hub.hears("engine_heartbeat")
        await hub.submit()
        await hub.hears("job_started")
        await hub.until(lambda: hub.all("engine_heartbeat")[-1].body == listed)
        await hub.send("job_abort", {"job_id": "j1", "attempt_id": "a1", "reason": ""})
        await hub.until(lambda: hub.all("engine_heartbeat")[-1].body == {"attempts": []})
        stop.set()
        await hub.hears("job_failed")


async def test_an_attempt_whose_lease_is_over_is_stopped_by_the_next_heartbeat(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        await asyncio.Event().wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_started")
        await hub.send("heartbeat_ack", {"renewed": 0, "stale": ["a9", "a1", 7]})
        failed = await hub.hears("job_failed")
    assert failed.body["error"]["code"] == "lease_lost"


@pytest.mark.parametrize("body", [{}, {"stale": None}, {"stale": []}, {"stale": [[]]}])
async def test_other_heartbeat_answers_change_nothing(
    hub: FakeHub, engine: Engine, running: Running, body: dict[str, object]
) -> None:
    engine.job("BUILD_SCENE")(nothing)
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.send("heartbeat_ack", body)
        await hub.send("ready_ack", body)
        await hub.submit()
        await hub.hears("job_completed")
    assert engine.dropped == {}
