"""A small run of the command in which all clients of a killed process come back at once."""

import json
import subprocess
import sys

import pytest

from tests.services import own_postgres, own_redis
from tests.storm import __main__ as storm

RUNS_WITHIN_S = 280.0
CLIENTS = 60


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_everybody_is_back_and_resumed() -> None:
    if own_postgres() is None or own_redis() is None:
        pytest.skip("no PostgreSQL or Redis of our own")
    command = [sys.executable, "-m", "tests.storm", "--clients", str(CLIENTS)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUNS_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["seen_present"] == CLIENTS


def test_a_storm_that_loses_somebody_or_floods_the_database_has_gaps() -> None:
    everything = ("back", "resumed", "missed_event_once", "seen_present")
    good = {
        "clients": 1_000,
        **dict.fromkeys(everything, 1_000),
        "troubles": {},
        "transactions_per_return": 3.0,
        "most_connections": 20,
    }
    assert storm.gaps(good) == []
    for name in everything:
        assert storm.gaps({**good, name: 999}) == [f"{name}: 999 of 1000"]
    assert storm.gaps({**good, "transactions_per_return": 9.0})
    assert storm.gaps({**good, "most_connections": 100})
