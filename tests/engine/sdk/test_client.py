"""Making, stopping and ending an engine."""

import asyncio
import signal
import subprocess
import sys
from typing import Any

import pytest

from engine.sdk import Context, Engine, InvalidSecret, Job
from security.signatures import to_base64url
from tests.engine.fake_hub import FakeHub, Running, nothing


async def test_draining_finishes_what_runs_and_then_leaves(hub: FakeHub, engine: Engine) -> None:
    release = asyncio.Event()

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> dict[str, Any]:
        await release.wait()
        return {"finished": True}

    task = asyncio.create_task(engine.run())
    await hub.hears("engine_ready")
    await hub.submit()
    await hub.hears("job_started")
    engine.stop()
    await hub.hears("engine_draining")
    assert not task.done()
    release.set()
    async with asyncio.timeout(10):
        await task
    assert hub.all("job_completed")[0].body["result"] == {"finished": True}


async def test_an_engine_that_drains_does_not_call_itself_ready_again(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    release = asyncio.Event()

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        await release.wait()

    async with running(engine):
        await hub.hears("engine_ready")
        await hub.submit()
        await hub.hears("job_started")
        engine.stop()
        await hub.hears("engine_draining")
        hub.drop()
        await hub.hears("engine_draining", count=2)
        release.set()
        await hub.hears("job_completed")
    assert len(hub.all("engine_ready")) == 1
    assert [len(said.body["attempts"]) for said in hub.all("engine_resume")] == [0, 1]


async def test_stopping_at_once_gives_the_jobs_back(hub: FakeHub, engine: Engine) -> None:
    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(engine.run())
    await hub.hears("engine_ready")
    await hub.submit()
    await hub.hears("job_started")
    engine.stop(now=True)
    async with asyncio.timeout(10):
        await task
    error = hub.all("job_failed")[0].body["error"]
    assert (error["code"], error["retryable"]) == ("engine_stopped", True)


async def test_an_engine_stops_while_the_hub_is_away(hub: FakeHub, engine: Engine) -> None:
    task = asyncio.create_task(engine.run())
    await hub.hears("engine_ready")
    hub.token_answers = [(503, {})] * 1000
    hub.drop()
    await hub.until(lambda: len(hub.token_answers) < 1000)
    engine.stop()
    async with asyncio.timeout(10):
        await task


async def test_cancelling_the_run_leaves_no_handler_behind(hub: FakeHub, engine: Engine) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    @engine.job("BUILD_SCENE")
    async def build(_job: Job, _context: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(engine.run())
    await hub.hears("engine_ready")
    await hub.submit()
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


PROGRAM = """
import sys
from engine.sdk import Engine
Engine(sys.argv[1], "builder", sys.argv[2]).main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_a_program_which_then_exits_with_zero(
    hub: FakeHub, number: signal.Signals
) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, hub.url, hub.secret
    )
    await hub.hears("engine_ready")
    program.send_signal(number)
    async with asyncio.timeout(10):
        assert await program.wait() == 0
    assert "engine_draining" in hub.events()


@pytest.mark.parametrize(
    "secret", ["", "short", "!" * 43, to_base64url(b"x" * 31), to_base64url(b"x" * 32) + "="]
)
def test_a_secret_of_another_form_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidSecret) as refusal:
        Engine("http://localhost", "builder", secret)
    assert not secret or secret not in str(refusal.value)


def test_the_secret_is_not_in_any_repr() -> None:
    text = to_base64url(b"\x01" * 32)
    engine = Engine("http://localhost", "builder", text)
    shown = repr(vars(engine)) + str(engine._identity.secret)
    assert text not in shown
    assert "\\x01" not in shown


@pytest.mark.parametrize("url", ["localhost:8000", "ws://localhost", "http://", ""])
def test_an_address_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Engine(url, "builder", to_base64url(bytes(32)))


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Engine("http://localhost", "builder", to_base64url(bytes(32)), capacity=0)


def test_a_type_of_job_has_one_handler() -> None:
    engine = Engine("http://localhost", "builder", to_base64url(bytes(32)))
    engine.job("BUILD_SCENE")(nothing)
    with pytest.raises(ValueError, match="BUILD_SCENE"):
        engine.job("BUILD_SCENE")(nothing)


async def test_an_engine_runs_once(hub: FakeHub, engine: Engine, running: Running) -> None:
    async with running(engine):
        await hub.hears("engine_ready")
        with pytest.raises(RuntimeError):
            await engine.run()


def test_the_sdk_needs_no_django() -> None:
    check = "import sys, engine.sdk, engine.reference; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
