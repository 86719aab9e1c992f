"""The benchmark runs and says something that makes sense; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def test_a_second_of_the_benchmark_reports_costs_of_the_hub(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--no-peer", "--rounds", "1", "--seconds", "0.2", "--only", "action_1_us")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *options, "--json", str(report)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(report.read_text())
    assert said["median"].keys() == {"hub", "hub, no action audit"}
    for measured in said["median"].values():
        assert 1 < measured["action_1_us"] < 100_000  # a cost in microseconds, whatever the machine
    assert "action_1_us" in done.stdout
