"""``python -m benchmarks.builds``: what a job costs, and whether that grows with finished jobs.

Many builds run through the dispatcher, with a stub for an engine that reports at once. Printed are
what a job of the first and of the last fifth costs, and the database's own plan for each query of
submission, dispatch, reports, reaper and feed. Exit code 1 if the last fifth costs more than
``--growth`` times the first, or a plan walks through a whole table of jobs, builds or events. Costs
are compared by what a busy computer does not change: steps of SQLite's machine, and the rows and
index entries that PostgreSQL reads.

    python -m benchmarks.builds --builds 500 --jobs 20
    python -m benchmarks.builds --postgresql                    # the one of the extra `dev`
    DATABASE_URL=postgresql://... python -m benchmarks.builds   # an empty database of yours
"""

import argparse
import json
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LARGE: Final = ("engine_job", "engine_jobevent", "engine_build", "engine_feedevent")
"""Tables that grow with finished jobs; nothing that runs for each job may walk through one."""

IN_FLIGHT: Final = 4  # builds at once, as one person may have
CAPACITY: Final = 4  # what a busy computer ends within a lease
FIFTHS: Final = 5
WORK: Final = {"sqlite": "thousand steps of SQLite", "postgresql": "rows read by PostgreSQL"}
ROWS_READ: Final = """
    SELECT sum(t.seq_tup_read) + (
        SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relname = ANY (%s)
    ) FROM pg_stat_user_tables t WHERE t.relname = ANY (%s)
"""
SCAN: Final = re.compile(
    r"(?P<kind>Seq|Index|Index Only) Scan (?:Backward )?(?:using \S+ )?on (?P<table>\w+)"
)
SMALL: Final = 5_000
"""Of fewer jobs PostgreSQL reads the whole table, which is a few pages, whatever its indexes are.
It is told not to then: what is left is what no index serves."""

READ: Final = ("SELECT", "UPDATE", "DELETE")


@dataclass(slots=True)
class Costs:
    """Processor and wall seconds of each round of builds, in their order, and queries in all.

    `work`: thousands of steps of SQLite's machine, or rows that PostgreSQL read.
    """

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    queries: int = 0
    steps: int = 0

    @contextmanager
    def measured(self, worked: Callable[[], int]) -> Iterator[None]:
        """Add what happens inside as one entry; `worked` counts the database's work so far."""
        before = worked()
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu_s.append(time.process_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)
        self.work.append(worked() - before)

    def fifths(self, jobs: int) -> dict[str, dict[str, float]]:
        """Milliseconds per job, of the first and of the last fifth."""
        size = max(1, len(self.cpu_s) // FIFTHS)
        return {
            name: {
                "cpu_ms": 1000 * _per_job(self.cpu_s[part], jobs),
                "wall_ms": 1000 * _per_job(self.wall_s[part], jobs),
                "work": _per_job(self.work[part], jobs),
            }
            for name, part in (("first", slice(0, size)), ("last", slice(-size, None)))
        }


def _per_job(amounts: list[float], jobs: int) -> float:
    return round(sum(amounts) / len(amounts) / jobs, 6)


def main() -> int:
    """Run, print, return the exit code."""
    options = _options()
    _set_up(postgresql=options.postgresql)
    bench = _Bench(jobs=options.jobs)
    if bench.vendor == "postgresql" and options.builds * options.jobs < SMALL:
        bench.prefer_indexes()
    costs = bench.run(options.builds)
    fifths = costs.fifths(options.jobs * IN_FLIGHT)
    plans = _plans(bench)
    walks = [plan["sql"] for plan in plans if plan["walks"]]
    growth = fifths["last"]["work"] / fifths["first"]["work"]
    report = {
        "vendor": bench.vendor,
        "builds": options.builds,
        "jobs_per_build": options.jobs,
        "per_job": fifths,
        "growth": {"of": WORK[bench.vendor], "factor": round(growth, 3)},
        "queries_per_job": round(costs.queries / options.builds / options.jobs, 1),
        "plans": plans,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    sys.stdout.write(_shown(report) + "\n")
    return int(growth > options.growth or bool(walks))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.builds", description=__doc__)
    parser.add_argument("--builds", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=20, help="of each build, at least 3")
    parser.add_argument("--growth", type=float, default=1.25, help="most of last by first fifth")
    parser.add_argument("--postgresql", action="store_true", help="start one of our own")
    parser.add_argument("--json", type=Path, help="write everything here")
    return parser.parse_args()


def _set_up(*, postgresql: bool) -> None:
    """Choose settings with limits out of the way, and a database of our own unless one is given."""
    if postgresql:
        os.environ["DATABASE_URL"] = _own_postgresql()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "hubsite.settings",
        "HUB_DEVELOPMENT_KEYS": "1",
        "HUB_DATA_DIR": tempfile.mkdtemp(prefix="hub-builds-"),
        "HUB_BUILDS_IN_FLIGHT": "1000000",
        "HUB_QUEUED_JOBS": "1000000",
        "DEBUG": "0",
    }
    import django  # noqa: PLC0415 - the variables come first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - as above

    call_command("migrate", verbosity=0)


def _own_postgresql() -> str:
    """Start the PostgreSQL that comes with the extra `dev`; it ends with this process."""
    from tests.services import own_postgres  # noqa: PLC0415 - wanted here only, and an extra

    server = own_postgres()
    if server is None:
        raise SystemExit("PostgreSQL is wanted: install the extra dev.")
    return server.url("postgres")


class _Bench:
    """One person, one engine that is done at once, and the hub between them."""

    def __init__(self, *, jobs: int) -> None:
        from django.contrib.auth import get_user_model  # noqa: PLC0415 - Django is set up by now
        from django.db import connection  # noqa: PLC0415 - as above

        from engine import adapter, dispatcher, feed  # noqa: PLC0415 - as above

        self.dispatcher, self.feed, self.connection = dispatcher, feed, connection
        self.vendor = connection.vendor
        self.world = adapter.admit(_world(jobs - 2))
        name = f"bench-{secrets.token_hex(4)}"
        self.user_id = get_user_model().objects.create_user(name).pk
        proved = dispatcher.engine_connected(name, node="n", sid_hash="s")
        self.session = str(proved.reply["engine_session_id"])
        types = ["BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY"]
        dispatcher.engine_ready(self.session, capacity=CAPACITY, job_types=types, version="1")

    def run(self, builds: int) -> Costs:
        """Run builds a few at a time, to their ends."""
        costs = Costs()

        def counted(execute: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - Django's own hook
            costs.queries += 1
            return execute(*args)

        worked = self._steps(costs) if self.vendor == "sqlite" else self._rows
        with self.connection.execute_wrapper(counted):
            for _ in range(builds // IN_FLIGHT):
                with costs.measured(worked):
                    self.round()
        return costs

    def prefer_indexes(self) -> None:
        """Let PostgreSQL's planner use an index wherever one serves."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")

    def _steps(self, costs: Costs) -> Callable[[], int]:
        """Count the steps of SQLite's machine, in thousands."""

        def stepped() -> int:
            costs.steps += 1
            return 0

        self.connection.connection.set_progress_handler(stepped, 1_000)
        return lambda: costs.steps

    def _rows(self) -> int:
        """Return how many rows and index entries PostgreSQL has read of the large tables."""
        with self.connection.connection.cursor() as cursor:  # not counted as a query of ours
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute(ROWS_READ, [list(LARGE)] * 2)
            (rows,) = cursor.fetchone()
        return int(rows)

    def round(self) -> None:
        """Submit some builds and run all their jobs, as the coordinator does."""
        head = self.feed.position(self.user_id).head
        for _ in range(IN_FLIGHT):
            self.dispatcher.submit(self.user_id, self.world)
        while given := self.dispatcher.assign().deliveries:
            for delivery in given:
                self._work(delivery.body["job_id"], delivery.body["attempt_id"])
            self.dispatcher.heartbeat(self.session, [])
            self.dispatcher.rescue()
            head = self._read(head)

    def _work(self, job_id: str, attempt_id: str) -> None:
        claim = (self.session, job_id, attempt_id)
        self.dispatcher.report_ack(*claim)
        self.dispatcher.report_started(*claim)
        self.dispatcher.report_progress(*claim, 50)
        self.dispatcher.report_completed(*claim, {"done": True})

    def _read(self, after: int) -> int:
        """Hear of the feed as a process does: the counter first, then what is new."""
        epoch, head = self.feed.heads([self.user_id])[self.user_id]
        self.feed.read(self.user_id, epoch, after)
        return int(head)


def _world(entities: int) -> dict[str, Any]:
    box = {
        "type": "object",
        "transform": {"position": [0, 0, 0], "rotation": [0, 0, 0], "scale": [1, 1, 1]},
        "material": {"shader": "standard", "texture": "wood", "color": [1, 1, 1]},
        "components": {"mesh": "box", "collider": "box"},
    }
    return {
        "schema_version": "1.0",
        "world": {"id": "world_bench", "name": "Bench", "gravity": [0, -9.81, 0]},
        "scene": {"id": "scene_bench", "ambientLight": [1, 1, 1], "skybox": "dusk"},
        "entities": [{"id": f"box_{index}", **box} for index in range(entities)],
    }


# Plans.


def _plans(bench: _Bench) -> list[dict[str, Any]]:
    """Return the plan of every statement that one more round makes, each statement once."""
    seen: dict[str, Any] = {}

    def noted(execute: Callable[..., Any], sql: str, params: Any, *rest: Any) -> Any:  # noqa: ANN401 - Django's own hook
        if sql.startswith(READ):
            seen.setdefault(_shape(sql), (sql, params))
        return execute(sql, params, *rest)

    if bench.vendor == "postgresql":
        with bench.connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    with bench.connection.execute_wrapper(noted):
        bench.round()
    return [_plan(bench.connection, sql, params) for sql, params in seen.values()]


def _shape(sql: str) -> str:
    """A statement without the number of its parameters."""
    while "%s, %s" in sql:
        sql = sql.replace("%s, %s", "%s")
    return sql


def _plan(connection: Any, sql: str, params: Any) -> dict[str, Any]:  # noqa: ANN401 - a database connection
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {sql}", params)
        lines = [str(row[-1]) for row in cursor.fetchall()]
    walks = _sqlite_walks if connection.vendor == "sqlite" else _postgresql_walks
    return {"sql": _shape(sql)[:400], "plan": lines, "walks": walks(lines)}


def _sqlite_walks(lines: list[str]) -> bool:
    """Whether a plan reads a large table from end to end, or all of an index of it."""
    words = [line.replace('"', "").split() for line in lines]
    return any(each[:1] == ["SCAN"] and each[1] in LARGE for each in words)


def _postgresql_walks(lines: list[str]) -> bool:
    """As above: a sequential scan, or a scan of an index without a condition on it."""
    scans = [(index, found) for index, line in enumerate(lines) if (found := SCAN.search(line))]
    for index, found in scans:
        following = lines[index + 1 : index + 2]
        conditional = any("Index Cond:" in line for line in following)
        if found["table"] in LARGE and (found["kind"] == "Seq" or not conditional):
            return True
    return False


def _shown(report: dict[str, Any]) -> str:
    first, last = report["per_job"]["first"], report["per_job"]["last"]
    growth = report["growth"]
    lines = [
        (
            f"{report['builds']} builds of {report['jobs_per_build']} jobs on {report['vendor']}: "
            f"{report['queries_per_job']} queries per job"
        ),
        f"  first fifth  {_costs(first, growth['of'])}",
        f"  last fifth   {_costs(last, growth['of'])}",
        f"  the last fifth costs {growth['factor']} times the first, by {growth['of']}",
    ]
    for plan in report["plans"]:
        mark = "WALKS " if plan["walks"] else "      "
        lines += ["", mark + plan["sql"][:160], *(f"          {line}" for line in plan["plan"])]
    return "\n".join(lines)


def _costs(fifth: dict[str, float], unit: str) -> str:
    cpu, wall, work = (fifth[name] for name in ("cpu_ms", "wall_ms", "work"))
    return f"{cpu:.2f} ms CPU  {wall:.2f} ms  {work:.2f} {unit}, per job"


if __name__ == "__main__":
    sys.exit(main())
