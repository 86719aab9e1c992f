"""``python -m tests.growth``: ten thousand people come and go, and the hub is as it was.

    python -m tests.growth --connects 10000 --json out.json

Three processes on Redis and PostgreSQL. Each connect proves a token, joins "/", is told of feed and
presence, beats once, and leaves: by the WebSocket's close, by Socket.IO's DISCONNECT, or without a
word. What the hub holds is counted when it is warm, and again at the end. Prints a verdict as JSON.
Exit code 0 without gaps: no session, room, timer, task, descriptor, Redis key or row more than
before, but for the audit, which gets two rows for each connect. 1 with what was left.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.live import LiveHub
from tests.sites import Site
from tests.storm.returner import Address, Returner
from tests.storm.stage import Servers, address_of, ip_of, logins, servers

PROCESSES = 3
PEOPLE = 24  # each with one socket at a time
WARM_UP = 600  # caches fill, pools and threads grow
SETTLES_WITHIN_S = 60.0
LOOK_EVERY_S = 0.5
SETTINGS = {
    "HUB_TRUSTED_PROXIES": "127.0.0.1",
    "HUB_ACCESS_TOKEN_S": "7200",
    "HUB_LOG_LEVEL": "WARNING",
}
GAUGES = (
    *("hub_sessions", "hub_parting_sessions", "hub_rooms", "hub_timers", "hub_background"),
    *("hub_tasks", "process_open_fds"),
)
# Cancelled deadlines lie in the heap until it is swept (realtime.timers, LITTER), pools keep spare
# connections, and the work of each second is caught now and then.
ALLOWED = {"hub_timers": 1_000, "hub_tasks": 6, "hub_background": 3, "process_open_fds": 14}
RECORDS = frozenset({"security_auditentry", "security_anchor"})
"""The tables that grow with every connect, as they must."""


def census(site: Site, own: Servers) -> dict[str, int]:
    """What there is: the most that any process holds, Redis' keys, and every table's rows."""
    held = [gauges(hub) for hub in site.hubs]
    found = {name: max(each[name] for each in held) for name in GAUGES}
    found["redis_keys"] = int(own.redis.call("DBSIZE"))
    return found | rows(own.database_url)


def gauges(hub: LiveHub) -> dict[str, int]:
    """Some of what /metrics says."""
    with urllib.request.urlopen(f"{hub.url}/metrics") as answer:  # noqa: S310 - our own hub
        said = answer.read().decode()
    values = dict(re.findall(r"^(\w+) (\S+)$", said, re.MULTILINE))
    return {name: int(float(values[name])) for name in GAUGES}


def rows(url: str) -> dict[str, int]:
    """How many rows each table has."""
    with psycopg.connect(url) as database:
        names = database.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()
        found = {}
        for (name,) in names:
            count = database.execute(f'SELECT count(*) FROM "{name}"'.encode()).fetchone()  # noqa: S608 - a name of our own
            assert count is not None
            found[f"rows of {name}"] = int(count[0])
    return found


def gaps(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """What was left."""
    records = {f"rows of {name}" for name in RECORDS}
    return [
        f"{name}: {before[name]} before, {after[name]} after"
        for name in before
        if name not in records and after[name] > before[name] + ALLOWED.get(name, 0)
    ]


async def come_and_go(people: Sequence[Returner], where: Sequence[Address], count: int) -> None:
    """So many connects, by everybody in turns."""
    numbers = iter(range(count))

    async def visitor(person: Returner) -> None:
        for number in numbers:
            await person.join([where[number % len(where)]])
            person.send('42["heartbeat",{}]')
            await leave(person, number)

    await asyncio.gather(*map(visitor, people))


async def leave(person: Returner, number: int) -> None:
    """In one of the ways there are."""
    if number % 3 == 0:
        person.send("41")
        await asyncio.sleep(0)
    elif number % 3 == 1:
        person.close()
    person.leave()


async def settled(site: Site, own: Servers, before: Mapping[str, int] | None) -> dict[str, int]:
    """Count when everybody has gone, and then until it is as before, if it will be."""
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while True:
        found = await asyncio.to_thread(census, site, own)
        gone = not (found["hub_sessions"] or found["hub_parting_sessions"])
        if (gone and (before is None or not gaps(before, found))) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(LOOK_EVERY_S)


async def measure(site: Site, own: Servers, connects: int, warm_up: int) -> dict[str, Any]:
    """Warm up, count, let them come and go, count again."""
    tokens = logins(site.at(0), PEOPLE)
    people = [Returner(n, token, ip=ip_of(n)) for n, token in enumerate(tokens)]
    where = [address_of(hub) for hub in site.hubs]
    await come_and_go(people, where, warm_up)
    before = await settled(site, own, None)
    began = time.monotonic()
    await come_and_go(people, where, connects)
    seconds = time.monotonic() - began
    after = await settled(site, own, before)
    return {
        "connects": connects,
        "seconds": round(seconds, 1),
        "before": before,
        "after": after,
        "gaps": gaps(before, after),
    }


def run(connects: int, warm_up: int) -> dict[str, Any]:
    """Start everything, let it happen."""
    folder = Path(tempfile.mkdtemp(prefix="hub-growth-"))
    with (
        servers() as own,
        Site(folder, count=PROCESSES, people=("ada",), environ={**own.environ, **SETTINGS}) as site,
    ):
        return asyncio.run(measure(site, own, connects, warm_up))


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.growth")
    parser.add_argument("--connects", type=int, default=10_000)
    parser.add_argument("--warm-up", type=int, default=WARM_UP)
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    options = parser.parse_args()
    verdict = run(options.connects, options.warm_up)
    text = json.dumps(verdict, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(verdict["gaps"]))


if __name__ == "__main__":
    sys.exit(main())
