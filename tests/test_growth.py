"""A small run of the command that lets ten thousand people come and go."""

import json
import subprocess
import sys

import pytest

from tests import growth
from tests.services import own_postgres, own_redis

RUNS_WITHIN_S = 280.0
SMALL = ("--connects", "200", "--warm-up", "150")


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_hub_is_as_it_was_when_everybody_has_gone() -> None:
    if own_postgres() is None or own_redis() is None:
        pytest.skip("no PostgreSQL or Redis of our own")
    command = [sys.executable, "-m", "tests.growth", *SMALL]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUNS_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    (audited,) = (
        said["after"][name] - said["before"][name]
        for name in said["after"]
        if name.endswith("auditentry")
    )
    assert audited == 2 * 200


def test_what_is_left_is_named_but_for_records() -> None:
    before = {"hub_sessions": 0, "hub_tasks": 10, "rows of security_auditentry": 4}
    after = {"hub_sessions": 1, "hub_tasks": 14, "rows of security_auditentry": 9_000}
    assert growth.gaps(before, after) == ["hub_sessions: 0 before, 1 after"]
    assert growth.gaps(before, {**before, "hub_tasks": 40}) == ["hub_tasks: 10 before, 40 after"]
