"""The command that runs the cases again and again counts what it is told."""

import sys
from pathlib import Path

import pytest

from tests.conformance import runs

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("says", "code", "verdict"),
    [
        ("93 passed in 25s", 0, {"ok": True, "passed": 93}),
        ("  25 passing (3s)", 0, {"ok": True, "passing": 25}),
        ("  31 passing (7s)\\n  1 failing", 1, {"ok": False, "passing": 31, "failing": 1}),
        ("1 failed, 92 passed in 25s", 1, {"ok": False, "passed": 92, "failed": 1}),
    ],
)
def test_a_run_is_what_its_command_says(says: str, code: int, verdict: dict[str, object]) -> None:
    command = [sys.executable, "-c", f"print('''{says}'''); raise SystemExit({code})"]
    run = runs.run_once(command, HERE)
    assert verdict.items() <= run.items()
    assert ("said" in run) is not verdict["ok"]


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_the_own_cases_are_those_of_one_server(server: str) -> None:
    command = runs.own_cases(server)
    assert command[command.index("-k") + 1] == server
    assert all(path.exists() for path in runs.OWN)
