"""``python -m tests.isolation``: what fails stays where it fails, with the real numbers.

    python -m tests.isolation [--sockets 100] [--seconds 30] [--json FILE]

A hundred sockets that never read; handlers that raise, stall and hold every thread of the
database; SQLite locked, and PostgreSQL stopped, for half a minute. Prints a verdict as JSON. Exit
code 0 without gaps, 1 with what others noticed.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.isolation import scenarios
from tests.isolation.staging import isolated
from tests.services import SUPERUSER, own_postgres

DEADLINE_S = 8.0  # the hub's own


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.isolation", description=__doc__)
    parser.add_argument("--sockets", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    options = parser.parse_args()
    verdict = {**_on_sqlite(options), **_on_postgresql(options)}
    gaps = [f"{name}: {gap}" for name, found in verdict.items() for gap in found["gaps"]]
    text = json.dumps({**verdict, "gaps": gaps}, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(gaps))


def _on_sqlite(options: argparse.Namespace) -> dict[str, Any]:
    with isolated(deadline_s=DEADLINE_S) as stage:
        deaf = scenarios.deaf_sockets(stage, count=options.sockets, pid=stage.hub.pid)
        hanging = scenarios.database_hangs(stage, scenarios.locked(stage), seconds=options.seconds)
        return {
            "deaf sockets": asyncio.run(deaf),
            "failing handlers": asyncio.run(scenarios.failing_handlers(stage)),
            "SQLite locked": asyncio.run(hanging),
        }


def _on_postgresql(options: argparse.Namespace) -> dict[str, Any]:
    server = own_postgres()
    if server is None:
        return {"PostgreSQL stopped": {"gaps": ["there is no PostgreSQL to stop"]}}
    server.start()
    with isolated(deadline_s=DEADLINE_S, DATABASE_URL=server.url(SUPERUSER)) as stage:
        hanging = scenarios.database_hangs(
            stage, scenarios.stopped(server), seconds=options.seconds
        )
        return {"PostgreSQL stopped": asyncio.run(hanging)}


if __name__ == "__main__":
    sys.exit(main())
