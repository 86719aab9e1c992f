"""Every in-process test that uses the database holds on PostgreSQL as it does on SQLite.

By hand: ``DATABASE_URL=postgresql://... pytest -m django_db tests``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SUITES = ("tests/engine", "tests/hubsite", "tests/realtime", "tests/security")
TAKES_S = 600  # a minute and a half on two idle cores
ALL_PASSED = 0


@pytest.mark.timeout(TAKES_S + 60)
def test_the_suites_of_the_database_pass_on_postgresql(postgres_url: str) -> None:
    if "DATABASE_URL" in os.environ:
        return  # this run is on a database that was chosen by hand
    environ = {
        **{key: text for key, text in os.environ.items() if not key.startswith("PYTEST_")},
        "DATABASE_URL": postgres_url,
    }
    arguments = ["-n", "0", "-q", "-m", "django_db", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *SUITES],
        env=environ,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=TAKES_S,
        check=False,
    )
    assert done.returncode == ALL_PASSED, done.stdout[-20_000:] + done.stderr[-5_000:]
