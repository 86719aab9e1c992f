"""What the end-to-end tests share: a demo, a hub, a browser, the stock JavaScript client.

Each is started once per module, and pytest-xdist keeps a module's tests on one worker.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.end_to_end.chromium import launch
from tests.end_to_end.demo import Demo
from tests.end_to_end.forest import FOREST
from tests.end_to_end.tools import install_from_npm, require_program
from tests.live import CHECKOUT, PASSWORD, LiveHub

HERE = Path(__file__).parent
BROWSER_MODULES = CHECKOUT / "realtime" / "static" / "realtime"
CURRENT_CLIENT = "socket.io-client@4.8.4"
OLDER_CLIENT = "socket.io-client@4.1.3"
SCRIPT_S = 100.0

RunNode = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The whole demo, as its command starts it."""
    with Demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """``manage.py serve`` with ada and grace."""
    with LiveHub(data_dir=tmp_path_factory.mktemp("hub")) as running:
        for name in ("ada", "grace"):
            running.add_person(name)
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@pytest.fixture(params=[CURRENT_CLIENT, OLDER_CLIENT])
def run_node(request: pytest.FixtureRequest) -> RunNode:
    """Run a script of ``node/`` on a release of the stock client; returns what it reports."""
    node = require_program("node", "nodejs")
    cache = request.config.cache
    assert cache is not None
    client = install_from_npm(request.param, Path(cache.mkdir("npm")))

    def run(script: str, hub: LiveHub, user: str, **variables: str) -> dict[str, Any]:
        environ = {
            **variables,
            "HUB_URL": hub.url,
            "HUB_USER": user,
            "HUB_PASSWORD": PASSWORD,
            "SOCKET_IO_CLIENT": str(client),
            "SIGNING_MODULE": str(BROWSER_MODULES / "signing.js"),
            "WORLD": str(FOREST),
        }
        done = subprocess.run(
            [node, HERE / "node" / script],
            env=environ,
            capture_output=True,
            text=True,
            timeout=SCRIPT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr + hub.output
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return run
