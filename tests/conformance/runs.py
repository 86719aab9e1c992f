"""``python -m tests.conformance.runs``: every case of conformance, again and again.

    python -m tests.conformance.runs --times 10
    python -m tests.conformance.runs --times 10 --server daphne --suite <folder>/test-suite.js

Runs this project's own cases against the fixture, under uvicorn or Daphne; with ``--suite`` those
of a public suite instead, with mocha, in the folder where ``npm install`` was run; they expect the
fixture on port 3000. Prints a verdict as JSON; exit code 0 if no case failed in any run.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.conformance.echo_process import COMMANDS, ROOT, running

HERE = Path(__file__).parent
OWN = (HERE / "test_engineio.py", HERE / "test_socketio.py")
SUITES_PORT = 3000
RUN_S = 600.0
COUNTS = re.compile(r"(\d+) (passed|failed|error|passing|failing)")


def own_cases(server: str) -> list[str]:
    """The command for this project's own cases."""
    quiet = ["-q", "-n", "0", "-p", "no:cacheprovider", "--timeout", "60"]
    return [sys.executable, "-m", "pytest", *quiet, "-k", server, *map(str, OWN)]


def run_once(command: list[str], folder: Path) -> dict[str, Any]:
    """One run: its exit code and what it counted."""
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    counts: Counter[str] = Counter()
    for number, what in COUNTS.findall(done.stdout):
        counts[what] += int(number)
    verdict = {"seconds": round(time.monotonic() - began, 1), "ok": done.returncode == 0, **counts}
    return verdict if verdict["ok"] else {**verdict, "said": done.stdout[-4_000:]}


def run_all(times: int, server: str, suites: list[Path]) -> list[dict[str, Any]]:
    """All runs, one after the other."""
    if not suites:
        return [run_once(own_cases(server), ROOT) for _ in range(times)]
    with running(server, port=SUITES_PORT):
        mocha = ["npx", "mocha", "--exit"]
        return [
            {"suite": suite.parent.name, **run_once([*mocha, suite.name], suite.parent)}
            for _ in range(times)
            for suite in suites
        ]


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.runs")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--server", choices=sorted(COMMANDS), default="uvicorn")
    parser.add_argument("--suite", type=Path, action="append", default=[])
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    options = parser.parse_args()
    runs = run_all(options.times, options.server, [each.resolve() for each in options.suite])
    failed = sum(not run["ok"] for run in runs)
    text = json.dumps({"server": options.server, "failed_runs": failed, "runs": runs}, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
