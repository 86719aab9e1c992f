"""A small run of the command that lets ten thousand clients come and go."""

import json
import subprocess
import sys

from tests.conformance import churn

RUNS_WITHIN_S = 100.0
SMALL = {"connections": 90, "warm-up": 90, "at-once": 10, "ping-timeout-ms": 3_000}


def test_nothing_is_left_of_clients_that_came_and_went() -> None:
    options = [text for name, value in SMALL.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.conformance.churn", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUNS_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["after"]["sessions"] == 0


def test_what_is_left_is_named() -> None:
    before = {"sessions": 0, "objects": 1_000, "tasks": 3}
    after = {"sessions": 1, "objects": 1_000 + churn.FEW_OBJECTS, "tasks": 2}
    assert churn.gaps(before, after) == ["sessions: 0 before, 1 after"]
    assert churn.gaps(before, before | {"objects": 2_000}) == ["objects: 1000 before, 2000 after"]
