"""The measurement of ghosts itself, small: it lets people die, watches, and reaches a verdict.

The real one takes longer: ``python -m tests.ghosts --deaths 20``.
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
def test_a_dead_network_and_a_dead_browser_leave_no_ghost(tmp_path: Path) -> None:
    report = tmp_path / "verdict.json"
    deaths = ["--deaths", "2", "--of", "network,browser", "--disconnect-after", "4", "--sqlite"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.ghosts", *deaths, "--json", str(report)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TAKES_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(report.read_text())
    assert [each["kind"] for each in verdict["rounds"]] == ["network", "browser"]
    assert 0 < verdict["longest_s"] <= verdict["bound_s"] == 14.0
