"""Reports reach the hub, whatever happens on the way."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from engine.sdk import Context, Engine, Job, Timing
from engine.sdk.reports import Progress
from tests.engine.fake_hub import NAME, QUICK, FakeHub, Running, Said, engine_job, nothing


@pytest.mark.parametrize("event", ["job_ack", "job_started", "job_completed"])
async def test_a_report_that_the_hub_cannot_take_now_is_sent_again(
    hub: FakeHub, engine: Engine, running: Running, event: str
) -> None:
    engine.job("BUILD_SCENE")(nothing)
    hub.acks[event] = [{"ok": False, "error": "TRY_AGAIN"}, {"ok": False, "error": "RATE_LIMITED"}]
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears(event, count=3)
        await hub.hears("job_completed")


async def test_a_report_without_an_answer_is_sent_again(hub: FakeHub, running: Running) -> None:
    engine = Engine(hub.url, NAME, hub.secret, timing=replace(QUICK, ack_s=0.05))
    engine.job("BUILD_SCENE")(nothing)
    hub.acks["job_completed"] = [None, {"ok": True, "duplicate": True}]
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_completed", count=2)
        hub.said.clear()
        await hub.submit("j2", "a2")
        await hub.hears("job_completed")


@pytest.mark.parametrize("code", ["STALE_ATTEMPT", "LEASE_EXPIRED", "JOB_UNKNOWN", "JOB_NOT_YOURS"])
async def test_an_attempt_that_the_hub_took_away_is_abandoned(
    hub: FakeHub, engine: Engine, running: Running, code: str
) -> None:
    cancelled = asyncio.Event()

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, context: Context) -> None:
        context.progress(1)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    hub.acks["job_progress"] = [{"ok": False, "error": code}]
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        async with asyncio.timeout(10):
            await cancelled.wait()
    assert not {"job_failed", "job_completed"} & set(hub.events())


async def test_a_live_attempt_is_resumed_after_a_dropped_connection(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        assert not started.is_set()
        started.set()
        await release.wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await started.wait()
        hub.drop()
        await hub.hears("engine_ready", count=2)
        release.set()
        done = await hub.hears("job_completed")
        assert hub.events() == [
            *("engine_resume", "engine_ready", "job_ack", "job_started"),
            *("engine_resume", "engine_ready", "job_completed"),
        ]
    _, resume = hub.all("engine_resume")
    assert resume.body == {"attempts": [{"job_id": "j1", "attempt_id": "a1"}]}
    assert done.sid == resume.sid == hub.connections[1].sid


async def test_a_result_that_was_not_acknowledged_is_signed_anew_on_the_next_connection(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    engine.job("BUILD_SCENE")(nothing)
    hub.acks["job_completed"] = [None]

    def cut(said: Said) -> None:
        if said.event == "job_completed" and len(hub.connections) == 1:
            hub.drop()

    hub.on_event = cut
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        again = await hub.hears("job_completed", count=2)
    assert again.sid == hub.connections[1].sid
    assert hub.all("engine_resume")[1].body["attempts"] == [{"job_id": "j1", "attempt_id": "a1"}]


class Hub:
    """Records reports of progress and answers them when a test lets it."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.news = asyncio.Event()

    async def say(self, event: str, job: Job, body: Mapping[str, Any]) -> None:
        assert event == "job_progress"
        self.heard.append(body["progress"])
        self.news.set()


async def test_between_two_reports_of_progress_there_is_a_pause() -> None:
    listener = Hub()
    progress = Progress(Job.from_wire(engine_job("j", "a")), say=listener.say, pause_s=3600)
    task = asyncio.create_task(progress.run())
    progress.set(1)
    await listener.news.wait()
    for percent in range(2, 90):
        progress.set(percent)
        await asyncio.sleep(0)
    assert listener.heard == [1]
    progress.close()
    await task
    assert listener.heard == [1, 89]


async def test_progress_goes_on_after_the_pause() -> None:
    listener = Hub()
    progress = Progress(Job.from_wire(engine_job("j", "a")), say=listener.say, pause_s=0)
    task = asyncio.create_task(progress.run())
    for percent in (10, 20, 30):
        listener.news.clear()
        progress.set(percent)
        await listener.news.wait()
    progress.close()
    await task
    assert listener.heard == [10, 20, 30]


async def test_a_job_without_progress_reports_none() -> None:
    listener = Hub()
    progress = Progress(Job.from_wire(engine_job("j", "a")), say=listener.say, pause_s=0)
    progress.set(0)
    progress.close()
    await progress.run()
    assert listener.heard == []


def test_the_default_pace_is_five_reports_a_second_at_most() -> None:
    timing = Timing()
    assert 1 / timing.progress_s + 1 <= 5  # one more than the pauses allow: the last, at once
