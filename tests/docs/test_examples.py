"""The examples of the documentation run against a real hub, as they are."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from realtime.client import HubClient
from tests.end_to_end.tools import install_from_npm, require_program
from tests.live import CHECKOUT, PASSWORD, LiveHub

pytestmark = pytest.mark.xdist_group("documented examples")

EXAMPLES = CHECKOUT / "docs" / "examples"
FOREST = CHECKOUT / "realtime" / "static" / "realtime" / "worlds" / "forest.json"
STOCK_CLIENT = "socket.io-client@4.8.4"
RUNS_WITHIN_S = 100.0
STOPS_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    with LiveHub(data_dir=tmp_path_factory.mktemp("hub")) as running:
        running.add_person("ada")
        yield running


@pytest.fixture
def tiny_engine(hub: LiveHub) -> Iterator[None]:
    """The third-party engine of the guide."""
    with running_engine(hub, "tiny-1", sys.executable, EXAMPLES / "tiny_engine.py"):
        yield


@pytest.fixture
def tiny_node_engine(hub: LiveHub, stock_client: Path) -> Iterator[None]:
    """The same in JavaScript, without the SDK."""
    node = require_program("node", "nodejs")
    script = shutil.copy(EXAMPLES / "tiny_engine.mjs", stock_client)
    with running_engine(hub, "tiny-2", node, script):
        yield


@pytest.fixture
def greeter(hub: LiveHub) -> Iterator[None]:
    """The agent of the guide."""
    secret = hub.add_service("greeter", "agent", "--rooms", "lobby")
    with running(
        [sys.executable, EXAMPLES / "greeter_agent.py", "greeter"],
        HUB_URL=hub.url,
        HUB_AGENT_SECRET=secret,
    ):
        yield


@pytest.fixture
def stock_client(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder in which a script finds socket.io-client."""
    require_program("node", "nodejs")
    cache = request.config.cache
    assert cache is not None
    client = install_from_npm(STOCK_CLIENT, Path(cache.mkdir("npm")))
    (tmp_path / "node_modules").symlink_to(client.parent)
    return tmp_path


@contextmanager
def running_engine(hub: LiveHub, name: str, *command: "str | Path") -> Iterator[None]:
    """An engine with an account of its own."""
    secret = hub.add_service(name)
    with running([*command, name], HUB_URL=hub.url, HUB_ENGINE_SECRET=secret):
        yield


@contextmanager
def running(command: "Sequence[str | Path]", **settings: str) -> Iterator[None]:
    """A program that must end well on SIGTERM."""
    process = subprocess.Popen(command, env=environ(**settings))
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(STOPS_WITHIN_S) == 0


def environ(**more: str) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **more}


def run(hub: LiveHub, *command: "str | Path") -> dict[str, Any]:
    """Run a client as ada; returns the JSON object that it prints."""
    done = subprocess.run(
        command,
        env=environ(HUB_URL=hub.url, HUB_USER="ada", HUB_PASSWORD=PASSWORD),
        capture_output=True,
        text=True,
        timeout=RUNS_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr + hub.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_the_javascript_client_acts_and_is_refused_a_replay(
    hub: LiveHub, stock_client: Path
) -> None:
    node = require_program("node", "nodejs")
    script = shutil.copy(EXAMPLES / "web_client.mjs", stock_client)

    said = run(hub, node, script)

    assert said["session"]["username"] == "ada"
    assert said["accepted"]["ok"]
    assert said["replayed"]["error"] == "replay_detected"
    assert said["feed"]["recovered"]


@pytest.mark.usefixtures("tiny_engine")
def test_the_python_client_has_a_world_built_by_the_third_party_engine(hub: LiveHub) -> None:
    assert_a_world_is_built(hub)


@pytest.mark.usefixtures("tiny_node_engine")
def test_an_engine_in_javascript_builds_a_world_as_well(hub: LiveHub) -> None:
    assert_a_world_is_built(hub)
    assert hub.violations(kind__startswith="engine") == []


@pytest.mark.usefixtures("greeter")
async def test_the_agent_of_the_guide_answers_a_wave_and_a_shout(hub: LiveHub) -> None:
    async with HubClient(hub.url) as ada:
        await ada.sign_in("ada", PASSWORD)
        await ada.connect()
        hello = await answered(ada, "emote", {"name": "wave"})
        assert (hello["message"], hello["reason"]) == ("Hello, ada!", "greeting")
        calm = await answered(ada, "speak", {"text": "HELLO"})
        assert (calm["agent"], calm["reason"]) == ("greeter", "shouting")


async def answered(person: HubClient, kind: str, payload: dict[str, str]) -> dict[str, Any]:
    """Act until an agent answers, which may still be on its way; what it says to the last act."""
    async with asyncio.timeout(RUNS_WITHIN_S):
        while True:
            action = await person.act(kind, payload)
            with contextlib.suppress(TimeoutError):
                word: dict[str, Any] = await person.next("agent_update", within_s=2)
                assert word["in_reply_to"] == action["id"]
                return word


def assert_a_world_is_built(hub: LiveHub) -> None:
    said = run(hub, sys.executable, EXAMPLES / "web_client.py", FOREST)
    assert said["accepted"]["ok"]
    assert said["replayed"]["error"] == "replay_detected"
    assert said["refused"] == "unknown_type"
    assert said["world"]["build_id"] == said["build"]["build_id"]
    assert said["bytes"] > 0
