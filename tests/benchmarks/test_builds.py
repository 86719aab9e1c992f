"""What a job costs does not grow with the jobs that have ended; no query walks a whole table."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TAKES_S = 280
GROWTH = "1.5"  # so few builds begin with trees of one page; a walk through a table makes it 4


def run(tmp_path: Path, **settings: str) -> dict[str, Any]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    environ.pop("DATABASE_URL", None)
    report = tmp_path / "report.json"
    options = ["--builds", "40", "--jobs", "5", "--growth", GROWTH, "--json", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.builds", *options],
        cwd=CHECKOUT,
        env=environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=TAKES_S,
    )
    assert report.exists(), done.stderr
    made: dict[str, Any] = json.loads(report.read_text())
    assert done.returncode == 0, done.stdout
    return made


def indexes(report: dict[str, Any], words: str) -> str:
    """The plans of the statements in which these words stand."""
    return "\n".join(
        line for plan in report["plans"] if words in plan["sql"] for line in plan["plan"]
    )


@pytest.mark.timeout(TAKES_S + 20)
def test_costs_do_not_grow_on_sqlite_and_what_is_open_is_found_by_its_index(
    tmp_path: Path,
) -> None:
    report = run(tmp_path)
    assert report["vendor"] == "sqlite"
    assert not [plan for plan in report["plans"] if plan["walks"]]
    assert "job_of_engine" in indexes(report, '"engine_session_id" = %s AND "engine_job"."state"')
    assert "feed_dedupe_unique" in indexes(report, '"dedupe_key" IN (%s)')
    assert "build_open_of_user" in indexes(report, 'COUNT(*) AS "__count" FROM "engine_build"')


@pytest.mark.timeout(TAKES_S + 20)
def test_costs_do_not_grow_on_postgresql_and_no_plan_walks_a_whole_table(
    tmp_path: Path, postgres_url: str
) -> None:
    report = run(tmp_path, DATABASE_URL=postgres_url)
    assert report["vendor"] == "postgresql"
    assert not [plan for plan in report["plans"] if plan["walks"]]
    leases = indexes(report, '"engine_job"."lease_expires_at" <=')
    assert "job_lease" in leases or "job_of_engine" in leases  # a few live jobs: as good as it
    assert "feed_seq_unique" in indexes(report, '"engine_feedevent"."seq" > %s')
    assert "feed_dedupe_unique" in indexes(report, '"dedupe_key" IN (%s)')
