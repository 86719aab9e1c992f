"""What several processes decide at once, on real connections: nothing doubled, nothing hung.

Fewer of each than ``python -m tests.engine.races`` has by itself (1,000 pairs, 200 rounds).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TAKES_S = 280


def race(pairs: int, rounds: int, seconds: float, **settings: str) -> dict[str, Any]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    environ.pop("DATABASE_URL", None)
    sizes = ["--pairs", str(pairs), "--rounds", str(rounds), "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.races", *sizes],
        cwd=CHECKOUT,
        env=environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=TAKES_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


@pytest.mark.timeout(TAKES_S + 20)
def test_processes_that_meet_on_postgresql_keep_every_promise(postgres_url: str) -> None:
    verdict = race(150, 3, 2.0, DATABASE_URL=postgres_url)
    assert verdict["vendor"] == "postgresql"
    assert verdict["last_two"]["pairs"] == 150
    assert len(verdict["contests"]) == 9
    assert verdict["storm"]["done"]["work"] > 0


@pytest.mark.timeout(TAKES_S + 20)
def test_threads_that_meet_on_sqlite_keep_every_promise() -> None:
    verdict = race(50, 2, 1.0)
    assert verdict["vendor"] == "sqlite"
    assert verdict["storm"]["done"]["work"] > 0
