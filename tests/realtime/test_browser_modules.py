"""The browser modules keep their promises, run by Node: each file of `browser/` is one suite."""

import shutil
import subprocess
from pathlib import Path

import pytest

SUITES = sorted((Path(__file__).parent / "browser").glob("*.test.mjs"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.removesuffix(".test.mjs"))
def test_every_test_of_the_suite_passes(suite: Path) -> None:
    node = shutil.which("node")
    assert node, "Node.js 20 or newer must be on PATH: it runs the browser's modules here"
    run = subprocess.run(
        [node, "--test", "--test-reporter=spec", suite],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_there_are_suites_to_run() -> None:
    assert {suite.name.removesuffix(".test.mjs") for suite in SUITES} >= {
        "builds",
        "feed",
        "glb",
        "hub",
        "socketio",
    }
