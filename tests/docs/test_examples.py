"""The examples of the documentation run against a real hub, as they are."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

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
    """The third-party engine of the guide; it must drain and end well on SIGTERM."""
    secret = hub.add_service("tiny-1")
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "tiny_engine.py", "tiny-1"],
        env=environ(HUB_URL=hub.url, HUB_ENGINE_SECRET=secret),
    )
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
    hub: LiveHub, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    node = require_program("node", "nodejs")
    cache = request.config.cache
    assert cache is not None
    client = install_from_npm(STOCK_CLIENT, Path(cache.mkdir("npm")))
    (tmp_path / "node_modules").symlink_to(client.parent)
    script = shutil.copy(EXAMPLES / "web_client.mjs", tmp_path)

    said = run(hub, node, script)

    assert said["session"]["username"] == "ada"
    assert said["accepted"]["ok"]
    assert said["replayed"]["error"] == "replay_detected"
    assert said["feed"]["recovered"]


@pytest.mark.usefixtures("tiny_engine")
def test_the_python_client_has_a_world_built_by_the_third_party_engine(hub: LiveHub) -> None:
    said = run(hub, sys.executable, EXAMPLES / "web_client.py", FOREST)

    assert said["accepted"]["ok"]
    assert said["replayed"]["error"] == "replay_detected"
    assert said["refused"] == "unknown_type"
    assert said["world"]["build_id"] == said["build"]["build_id"]
    assert said["bytes"] > 0
