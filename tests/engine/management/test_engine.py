"""`manage.py engine`, as a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from tests.engine.fake_hub import NAME, FakeHub

# The command alone, without the hub's settings: an engine's machine has none of the hub's keys.
PROGRAM = """
import sys
from django.conf import settings
settings.configure()
import django
django.setup()
from django.core.management import ManagementUtility, call_command
from engine.management.commands.engine import Command
Command().run_from_argv(["manage.py", "engine", *sys.argv[1:]])
"""


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    fake = FakeHub()
    await fake.start()
    yield fake
    await fake.stop()


async def start(*arguments: str, secret: str | None) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if name != "HUB_ENGINE_SECRET"}
    if secret is not None:
        environment["HUB_ENGINE_SECRET"] = secret
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, *arguments),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )


async def end_of(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_the_engine_serves_the_hub_and_drains_on_sigterm(hub: FakeHub) -> None:
    options = ("--url", hub.url, "--name", NAME, "--capacity", "2", "--pace", "0.01")
    process = await start(*options, secret=hub.secret)
    ready = await hub.hears("engine_ready")
    process.send_signal(signal.SIGTERM)
    code, errors = await end_of(process)
    assert code == 0
    assert ready.body["capacity"] == 2
    assert ready.body["job_types"] == ["BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY"]
    assert "engine_draining" in hub.events()
    assert hub.secret not in errors


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [(None, "HUB_ENGINE_SECRET is not set"), ("", "is not set"), ("short", "base64url")],
)
async def test_without_a_usable_secret_it_says_so(secret: str | None, sentence: str) -> None:
    process = await start("--url", "http://localhost", "--name", NAME, secret=secret)
    code, errors = await end_of(process)
    assert code == 1
    assert sentence in errors
    assert "Traceback" not in errors


async def test_a_hub_that_refuses_the_engine_ends_it_with_one(hub: FakeHub) -> None:
    hub.token_answers = [(403, {"code": "forbidden", "message": "disabled"})]
    process = await start("--url", hub.url, "--name", NAME, secret=hub.secret)
    code, errors = await end_of(process)
    assert code == 1
    assert "forbidden" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("options", [("--capacity", "0"), ("--pace", "-1")])
async def test_impossible_options_are_refused(options: tuple[str, str]) -> None:
    base = ("--url", "http://localhost", "--name", NAME)
    code, errors = await end_of(await start(*base, *options, secret="A" * 43))
    assert code == 1
    assert "Traceback" not in errors
