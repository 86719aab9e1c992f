"""Two last siblings that complete at once: exactly one of them must open what follows.

Without the build's lock each sees the other as open, and the build hangs (docs/engine.md).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

RUN = (
    "import sys, django; django.setup(); "
    "from tests.engine.races import main; main(int(sys.argv[1]))"
)


def race(rounds: int, data_dir: Path, **settings: str) -> dict[str, Any]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    environ.pop("DATABASE_URL", None)
    environ |= {
        "DJANGO_SETTINGS_MODULE": "hubsite.settings",
        "HUB_DATA_DIR": str(data_dir),
        "HUB_DEVELOPMENT_KEYS": "1",
        "HUB_BUILDS_IN_FLIGHT": "1000000",
        "HUB_QUEUED_JOBS": "1000000",
        "DEBUG": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(rounds)],
        cwd=CHECKOUT,
        env=environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    left: dict[str, Any] = json.loads(done.stdout)
    return left


def check(left: dict[str, Any], rounds: int) -> None:
    assert left["errors"] == []
    assert left["completed"] == {"4": rounds}
    assert left["finishing_ready"] == rounds
    assert left["feed_without_gaps"]


@pytest.mark.timeout(300)
def test_the_last_two_complete_at_once_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    left = race(1_000, tmp_path, DATABASE_URL=postgres_url)
    assert left["vendor"] == "postgresql"
    check(left, 1_000)


def test_the_last_two_complete_at_once_on_sqlite(tmp_path: Path) -> None:
    left = race(100, tmp_path)
    assert left["vendor"] == "sqlite"
    check(left, 100)
