"""What stands in a live hub's database, read beside it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from tests.live import LiveHub

__all__ = ["domain_rows", "refusals_of"]

DOMAIN = ("engine_build", "engine_job", "engine_jobevent")


def refusals_of(hub: LiveHub, principal: str = "%") -> list[tuple[str, int]]:
    """Code and count of each violation of somebody's, or of everybody's, oldest first."""
    found = _ask(
        hub,
        "SELECT code, count FROM security_violation WHERE principal LIKE ? ORDER BY id",
        principal,
    )
    return [(str(code), int(str(count))) for code, count in found]


def domain_rows(hub: LiveHub) -> list[Sequence[object]]:
    """Builds, jobs and their events with the state of each: unchanged by whatever is refused."""
    states = {"engine_build": "state", "engine_job": "state", "engine_jobevent": "event"}
    return [
        (table, *row)
        for table in DOMAIN
        for row in _ask(hub, f"SELECT id, {states[table]} FROM {table} ORDER BY id")  # noqa: S608 - names of our own
    ]


def _ask(hub: LiveHub, query: str, *values: object) -> list[Sequence[object]]:
    with closing(sqlite3.connect(hub.data_dir / "hub.sqlite3", timeout=20)) as database:
        return list(database.execute(query, values))
