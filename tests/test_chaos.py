"""The chaos run itself, small: it makes its faults, reaches a verdict, and finds nothing broken.

The real one takes longer: ``python -m tests.chaos --faults 200 --seconds 300``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import CHECKOUT

TAKES_S = 280


@pytest.mark.soak
@pytest.mark.timeout(TAKES_S + 20)
def test_a_small_storm_on_sqlite_breaks_no_promise(tmp_path: Path) -> None:
    report = tmp_path / "verdict.json"
    size = ["--faults", "5", "--seconds", "10", "--people", "2", "--engines", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--sqlite", *size, "--json", str(report)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TAKES_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(report.read_text())
    assert verdict["faults"] == 5
    assert verdict["faults_found"] == {}
    assert sum(verdict["builds"].values()) > 0
