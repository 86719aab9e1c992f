"""One job from its arrival to its end, against a hub with real sockets and signatures."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from engine.sdk import Context, Engine, Job, JobFailed
from tests.engine.fake_hub import NAME, QUICK, FakeHub, Running, nothing


async def test_a_job_goes_from_acknowledgement_to_result(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    seen: list[Job] = []

    @engine.job("BUILD_SCENE")
    async def build(job: Job, context: Context) -> dict[str, Any]:
        seen.append(job)
        context.progress(40)
        return {"nodes": 3}

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit(payload={"scene_id": "scene_a"})
        done = await hub.hears("job_completed")
    names = {"job_id": "j1", "attempt_id": "a1"}
    assert done.body == {**names, "result": {"nodes": 3}}
    assert hub.events() == [
        "engine_resume",
        "engine_ready",
        "job_ack",
        "job_started",
        "job_progress",
        "job_completed",
        "engine_draining",
    ]
    assert hub.all("job_progress")[0].body == {**names, "progress": 40}
    assert seen[0].payload == {"scene_id": "scene_a"}
    assert (seen[0].build_id, seen[0].timeout_s, seen[0].finish) == ("b1", 60.0, False)


async def test_a_plain_function_runs_in_a_thread_and_can_use_the_context(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    threads: list[threading.Thread] = []

    @engine.job("BUILD_SCENE")
    def build(_job: Job, context: Context) -> None:
        threads.append(threading.current_thread())
        context.progress(10)
        context.wait_for(context.upload_artifact(b"glTF"))

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        done = await hub.hears("job_completed")
    assert done.body["result"] == {}
    assert threads[0] is not threading.main_thread()
    assert hub.uploads[0][2] == b"glTF"


async def test_jobs_beyond_the_capacity_wait_for_a_slot(hub: FakeHub, running: Running) -> None:
    engine = Engine(hub.url, NAME, hub.secret, capacity=1, timing=QUICK)
    release = asyncio.Event()

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        await release.wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit("j1", "a1")
        await hub.submit("j2", "a2")
        await hub.hears("job_ack", count=2)
        await hub.hears("job_started")
        assert len(hub.all("job_started")) == 1
        release.set()
        await hub.hears("job_completed", count=2)


async def test_progress_skips_values_and_always_sends_the_last_before_the_result(
    hub: FakeHub, running: Running
) -> None:
    engine = Engine(hub.url, NAME, hub.secret, timing=replace(QUICK, progress_s=60.0))

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, context: Context) -> None:
        for percent in (5, 50, 20, 100):
            context.progress(percent)
            await hub.hears("job_progress")

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_completed")
    assert [said.body["progress"] for said in hub.all("job_progress")] == [5, 100]
    assert hub.events().index("job_completed") > hub.events().index("job_progress")


async def test_a_failing_handler_fails_the_job_and_asks_for_another_try(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        raise RuntimeError("x" * 10_000)

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        failed = await hub.hears("job_failed")
    error = failed.body["error"]
    assert (error["code"], error["retryable"]) == ("handler_error", True)
    assert error["message"].startswith("RuntimeError: xxx")
    assert len(error["message"]) <= 500


async def test_a_handler_can_fail_its_job_with_a_code_of_its_own(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        raise JobFailed("no_such_mesh", "never heard of it")

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        failed = await hub.hears("job_failed")
    assert failed.body["error"] == {
        "code": "no_such_mesh",
        "message": "never heard of it",
        "retryable": False,
    }


@pytest.mark.parametrize("result", ["text", {"a": float("nan")}, {"a": object()}])
async def test_a_result_that_is_no_json_object_fails_the_job(
    hub: FakeHub, engine: Engine, running: Running, result: Any
) -> None:
    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> Any:
        return result

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        failed = await hub.hears("job_failed")
    assert failed.body["error"]["code"] == "bad_result"
    assert failed.body["error"]["retryable"] is False


async def test_a_result_that_the_hub_does_not_take_fails_the_job(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    engine.job("BUILD_SCENE")(nothing)
    hub.acks["job_completed"] = [{"ok": False, "error": "PAYLOAD_INVALID"}]
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        failed = await hub.hears("job_failed")
    assert failed.body["error"]["code"] == "result_refused"


async def test_a_job_of_an_unknown_type_fails(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit(job_type="PAINT")
        failed = await hub.hears("job_failed")
    assert failed.body["error"]["code"] == "unsupported_job_type"
    assert failed.body["error"]["retryable"] is False


async def test_a_job_that_takes_too_long_is_cancelled(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        await asyncio.Event().wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit(execution_params={"timeout_ms": 20})
        failed = await hub.hears("job_failed")
    assert (failed.body["error"]["code"], failed.body["error"]["retryable"]) == ("timeout", True)


async def test_an_abort_cancels_an_asynchronous_handler(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    contexts: list[Context] = []

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, context: Context) -> None:
        contexts.append(context)
        await asyncio.Event().wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_started")
        await hub.send("job_abort", {"job_id": "j1", "attempt_id": "a1", "reason": "person"})
        failed = await hub.hears("job_failed")
    assert failed.body["error"] == {"code": "cancelled", "message": "person", "retryable": False}


async def test_an_abort_tells_a_handler_in_a_thread(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    told = threading.Event()

    @engine.job("BUILD_SCENE")
    def build(_job: Job, context: Context) -> dict[str, Any]:
        while not context.cancelled:
            threading.Event().wait(0.001)
        told.set()
        return {"nobody": "wants this"}

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_started")
        await hub.send("job_abort", {"job_id": "j1", "attempt_id": "a1", "reason": "person"})
        failed = await hub.hears("job_failed")
    assert told.is_set()
    assert failed.body["error"]["code"] == "cancelled"


async def test_an_abort_of_a_job_in_the_queue_ends_it_before_it_starts(
    hub: FakeHub, running: Running
) -> None:
    engine = Engine(hub.url, NAME, hub.secret, capacity=1, timing=QUICK)

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        await asyncio.Event().wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit("j1", "a1")
        await hub.hears("job_started")
        await hub.submit("j2", "a2")
        await hub.hears("job_ack", count=2)
        await hub.send("job_abort", {"job_id": "j2", "attempt_id": "a2", "reason": ""})
        failed = await hub.hears("job_failed")
        assert failed.body["attempt_id"] == "a2"
        assert len(hub.all("job_started")) == 1


async def test_a_message_that_json_has_no_place_for_is_still_a_report(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        raise JobFailed("odd", "a\0b\ud800c")

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        failed = await hub.hears("job_failed")
    assert failed.body["error"]["message"] == "a?b?c"


@pytest.mark.parametrize("code", ["", "two words", "x" * 65, "é"])
def test_a_code_that_the_hub_would_refuse_is_refused_at_once(code: str) -> None:
    with pytest.raises(ValueError, match="code"):
        JobFailed(code)
