"""``python -m tests.storm``: a process is killed, and all its clients come back at once.

    python -m tests.storm --clients 2000 --json out.json
    python -m tests.storm --clients 2000 --nat      all behind one address, with the hub's defaults

Three processes on Redis and PostgreSQL; everybody is at the first one when it is killed (SIGKILL),
and misses one event of the feed. All come back to the other two within the stock client's jitter.
Somebody who was at another process all the time goes on acting, and watches who is present.

Prints a verdict as JSON: how long it took, what the database had to do, what others noticed. Exit
code 0 without gaps: everybody is back, resumed without loss, seen present exactly once; the number
of database connections and of transactions per return is bounded. 1 with what was not so.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg

from realtime.client import HubClient
from tests.live import PASSWORD
from tests.sites import Guest, Site
from tests.storm.returner import Address, Returner
from tests.storm.stage import address_of, in_parts, ip_of, logins, servers

PROCESSES = 3
BACK_WITHIN_S = 240.0  # on two cores that also run the clients; a stock client never gives up
PRESENT_WITHIN_S = 60.0
SAMPLE_S = 0.1
ACT_EVERY_S = 0.25
STATISTICS_S = 1.5  # PostgreSQL tells its counters once a second
# resolve the login, find the place in the feed, read what was missed; the rest is shared by many.
TRANSACTIONS_PER_RETURN = 5.0
BESIDES = 200  # of what goes on anyway
POOL = 8 + 4  # HUB_DATABASE_THREADS, and what the settings add for other threads
OFFICE = "203.0.113.7"
SETTINGS = {
    "HUB_TRUSTED_PROXIES": "127.0.0.1",
    "HUB_ACCESS_TOKEN_S": "7200",
    "HUB_HEARTBEAT_INTERVAL_S": "300",
    "HUB_INACTIVE_AFTER_S": "900",
    "HUB_DISCONNECT_AFTER_S": "1800",
    "HUB_LOG_LEVEL": "WARNING",
}
HAPPEN = """
from django.db import transaction
from engine import feed
from security.models import User
people = User.objects.filter(username__startswith="person").order_by("pk")
body = {{"error": "missed", "message": "while you were away"}}
with transaction.atomic():
    for user_id in people.values_list("pk", flat=True)[{first}:{end}]:
        feed.append(user_id, "job_error", body)
"""


class Meter:
    """What PostgreSQL counts for one database."""

    def __init__(self, url: str, database: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._database = database
        self.most_connections = 0

    def transactions(self) -> int:
        """Committed and rolled back, up to a second ago."""
        return self._ask("xact_commit + xact_rollback")

    def sample(self) -> None:
        """Note how many connections there are."""
        self.most_connections = max(self.most_connections, self._ask("numbackends"))

    def _ask(self, what: str) -> int:
        query = f"SELECT {what} FROM pg_stat_database WHERE datname = %s"  # noqa: S608 - our own words
        row = self._connection.execute(query.encode(), [self._database]).fetchone()
        assert row is not None
        return int(row[0])

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)


class Bystander(Guest):
    """Somebody whose connection does not break; ``waits_s`` are those for each answer."""

    def __init__(self, client: HubClient) -> None:
        super().__init__(client)
        self.waits_s: list[float] = []

    async def live(self) -> None:
        """Act until cancelled."""
        while True:
            began = time.monotonic()
            await self.client.act("emote", {"kind": "wave"})
            self.waits_s.append(time.monotonic() - began)
            await asyncio.sleep(ACT_EVERY_S)


async def storm(site: Site, meter: Meter, options: argparse.Namespace) -> dict[str, Any]:
    """Everybody comes in, is thrown out, and comes back."""
    first, *others = map(address_of, site.hubs)
    people = [
        Returner(number, token, ip=OFFICE if options.nat else ip_of(number))
        for number, token in enumerate(logins(site.at(1), options.clients))
    ]
    async with HubClient(site.at(1).url) as client:
        bystander = Bystander(client)
        await client.sign_in("ada", PASSWORD)
        await client.connect()
        await in_turns(people, first)
        await asyncio.to_thread(site.at(0).kill)
        await asyncio.to_thread(in_parts, site.at(1), HAPPEN, options.clients)
        idle_per_s = await idle_rate(meter)
        before, began = meter.transactions(), time.monotonic()
        watching = [asyncio.create_task(each) for each in (meter.watch(), bystander.live())]
        back = await all_back(people, others)
        seconds = time.monotonic() - began
        present = await seen_present(bystander, people)
        await asyncio.sleep(STATISTICS_S)
        spent = meter.transactions() - before - idle_per_s * (time.monotonic() - began)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return {
        "clients": options.clients,
        "nat": options.nat,
        "back": back,
        "seconds_until_half_were_back": round(nth(people, 0.5) - began, 1),
        "seconds_until_all_were_back": round(seconds, 1),
        "resumed": sum(each.session["feed"]["recovered"] for each in people),
        "missed_event_once": sum(len(each.missed) == 1 for each in people),
        "seen_present": present,
        "troubles": dict(sum((each.troubles for each in people), Counter())),
        "transactions_per_return": round(spent / options.clients, 2),
        "idle_transactions_per_s": round(idle_per_s, 1),
        "most_connections": meter.most_connections - 1,  # the meter's own
        "bystander_waited_ms": waits(bystander.waits_s),
    }


async def in_turns(people: list[Returner], where: Address) -> None:
    """Let everybody come in, not all at once: that is not what is measured."""
    turn = asyncio.Semaphore(8)

    async def enter(person: Returner) -> None:
        async with turn:
            await person.join([where])

    await asyncio.gather(*map(enter, people))


async def idle_rate(meter: Meter) -> float:
    """Transactions a second while nothing happens but what always happens."""
    await asyncio.sleep(STATISTICS_S)
    before, began = meter.transactions(), time.monotonic()
    await asyncio.sleep(4.0)
    return (meter.transactions() - before) / (time.monotonic() - began)


async def all_back(people: list[Returner], where: list[Address]) -> int:
    """Let everybody come back; how many were in time."""
    returns = [asyncio.create_task(each.come_back(where)) for each in people]
    _, late = await asyncio.wait(returns, timeout=BACK_WITHIN_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return len(people) - len(late)


async def seen_present(bystander: Bystander, people: list[Returner]) -> int:
    """How many of them the bystander sees, with one socket each; waits until it is all."""
    names = {f"person{each.number}": ("active", 1) for each in people}
    deadline = time.monotonic() + PRESENT_WITHIN_S
    while True:
        seen = bystander.seen()
        right = sum(seen.get(name) == state for name, state in names.items())
        if right == len(names) or time.monotonic() > deadline:
            return right
        await asyncio.sleep(SAMPLE_S)


def nth(people: list[Returner], share: float) -> float:
    """When this share of them was back."""
    return sorted(each.joined_at for each in people)[int(len(people) * share)]


def waits(seconds: list[float]) -> dict[str, float]:
    """The middle and the longest, in milliseconds."""
    ordered = sorted(seconds) or [0.0]
    return {"median": round(ordered[len(ordered) // 2] * 1000), "most": round(ordered[-1] * 1000)}


def gaps(verdict: dict[str, Any]) -> list[str]:
    """What is not as promised."""
    count = verdict["clients"]
    # An attempt that failed is on record, or has asked some of the same questions already.
    besides = (BESIDES + 2 * sum(verdict["troubles"].values())) / count
    found = [
        f"{name}: {verdict[name]} of {count}"
        for name in ("back", "resumed", "missed_event_once", "seen_present")
        if verdict[name] != count
    ]
    for name, most in (
        ("transactions_per_return", TRANSACTIONS_PER_RETURN + besides),
        ("most_connections", PROCESSES * POOL + PROCESSES),
    ):
        if verdict[name] > most:
            found.append(f"{name}: {verdict[name]}, more than {most:g}")
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, let it happen."""
    folder = Path(tempfile.mkdtemp(prefix="hub-storm-"))
    with (
        servers() as own,
        Site(folder, count=PROCESSES, people=("ada",), environ={**own.environ, **SETTINGS}) as site,
    ):
        return asyncio.run(storm(site, Meter(own.database_url, own.database), options))


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm")
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--nat", action="store_true", help="all behind one address")
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    options = parser.parse_args()
    verdict = run(options)
    verdict["gaps"] = gaps(verdict)
    text = json.dumps(verdict, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(verdict["gaps"]))


if __name__ == "__main__":
    sys.exit(main())
