"""Every in-process test whose outcome a database can change holds on PostgreSQL as on SQLite.

All of them by hand: ``DATABASE_URL=postgresql://... pytest -m django_db tests``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SUITES = ("tests/engine", "tests/hubsite", "tests/realtime", "tests/security")

PAGES = (
    "tests/engine/api",
    "tests/engine/test_admin.py",
    "tests/security/admin",
    "tests/security/api",
    "tests/security/test_explanation.py",
)
"""What goes through HTTP to decisions that other tests here take directly. That every page can be
read is in ``tests/hubsite/test_admin_pages.py``. A new file is run unless it, or its folder, is
named here."""

TAKES_S = 600  # half a minute on two idle cores
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
        [sys.executable, "-m", "pytest", *arguments, *_files()],
        env=environ,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=TAKES_S,
        check=False,
    )
    assert done.returncode == ALL_PASSED, done.stdout[-20_000:] + done.stderr[-5_000:]


def _files() -> list[str]:
    """The test files that use the database at all: the others need not be imported for this."""
    found = {path for suite in SUITES for path in (CHECKOUT / suite).rglob("test_*.py")}
    files = [path for path in found if not _is_page(path)]
    return sorted(str(path) for path in files if "django_db" in path.read_text())


def _is_page(path: Path) -> bool:
    return any(path.is_relative_to(CHECKOUT / page) for page in PAGES)
