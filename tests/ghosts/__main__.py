"""``python -m tests.ghosts``: how long is somebody shown whose process, network or browser died?

    python -m tests.ghosts --deaths 20
    python -m tests.ghosts --deaths 10 --of network,browser --sqlite

People connect to a random process of a hub and die there at a random moment, sometimes together
with Redis, which comes back a random while later. Watchers at every process measure for how long
they are shown. Exit code 0 if never longer than HUB_DISCONNECT_AFTER_S + 10 s, 1 with who was.
"""

import argparse
import asyncio
import json
import random
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.client import HubRefused
from tests.chaos.fleet import Fleet
from tests.ghosts.deaths import DEATHS
from tests.live import LiveHub
from tests.services import RedisServer
from tests.sites import PATIENCE_S, Site, Tab

ALLOWANCE_S = 10.0
WATCHER, SPREAD = "watcher", "spread"  # the second has a tab at a process that lives on
VICTIMS = ("victim-0", "victim-1", "victim-2")
LONGEST_PAUSE_S = 3.0
LONGEST_OUTAGE_S = 12.0
GIVES_UP_S = 20.0  # beyond the bound: a ghost that stays


@dataclass(frozen=True)
class Plan:
    """One death: which, where, when, of whom, and for how long Redis is away as well."""

    kind: str
    at: int
    pause_s: float
    names: tuple[str, ...]
    outage_s: float


def main() -> int:
    """Run, print the verdict, return the exit code."""
    options = _options()
    redis, environ = None, {}
    if not options.sqlite:
        fleet = Fleet(hubs=0, engines=0, people=0, sqlite=False)
        redis, environ = fleet.redis, fleet.servers
    site = Site(
        Path(tempfile.mkdtemp(prefix="hub-ghosts-")),
        count=1 if options.sqlite else options.hubs,
        people=(WATCHER, SPREAD, *VICTIMS),
        environ={**environ, **_settings(options.disconnect_after)},
    )
    with site:
        rounds = asyncio.run(_rounds(site, _plans(options), redis, options.disconnect_after))
    verdict = _verdict(options, rounds)
    text = json.dumps(verdict, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(verdict["ghosts"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.ghosts", description=__doc__)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--of", default="process", help="process,network,browser")
    parser.add_argument("--hubs", type=int, default=3)
    parser.add_argument("--disconnect-after", type=float, default=10.0, help="seconds")
    parser.add_argument("--outages", type=float, default=0.25, help="share of deaths with Redis")
    parser.add_argument("--sqlite", action="store_true", help="one process, no Redis")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    return parser.parse_args()


def _settings(disconnect_after_s: float) -> dict[str, str]:
    return {
        "HUB_HEARTBEAT_INTERVAL_S": str(disconnect_after_s / 10),
        "HUB_INACTIVE_AFTER_S": str(disconnect_after_s / 2),
        "HUB_DISCONNECT_AFTER_S": str(disconnect_after_s),
        "HUB_LOG_LEVEL": "WARNING",
    }


def _plans(options: argparse.Namespace) -> list[Plan]:
    chance = random.Random(options.seed)  # noqa: S311 - a run that can be repeated
    kinds = options.of.split(",")
    return [
        Plan(
            kind=kinds[number % len(kinds)],
            at=chance.randrange(options.hubs),
            pause_s=chance.uniform(0, LONGEST_PAUSE_S),
            names=tuple(chance.sample(VICTIMS, chance.randint(1, len(VICTIMS)))),
            outage_s=chance.uniform(0.1, LONGEST_OUTAGE_S) * (chance.random() < options.outages),
        )
        for number in range(options.deaths)
    ]


async def _rounds(
    site: Site, plans: list[Plan], redis: RedisServer | None, disconnect_after_s: float
) -> list[dict[str, Any]]:
    longest_s, rounds = disconnect_after_s + ALLOWANCE_S + GIVES_UP_S, []
    for plan in plans:
        rounds.append(await _round(site, plan, redis, longest_s))
        if rounds[-1]["shown_s"] >= longest_s:
            break  # whoever stays would be taken for one of the next round's
    return rounds


async def _round(
    site: Site, plan: Plan, redis: RedisServer | None, longest_s: float
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        count = len(site.hubs)
        watchers = [await _enter(stack, site.at(number), WATCHER) for number in range(count)]
        die = await DEATHS[plan.kind](stack, site.at(plan.at), [SPREAD, *plan.names])
        await _enter(stack, site.at(plan.at + 1), SPREAD)
        everybody = dict.fromkeys(plan.names, 1) | {WATCHER: count, SPREAD: 2}
        for watcher in watchers:
            await watcher.sees(**everybody)
        await asyncio.sleep(plan.pause_s)
        outage = asyncio.create_task(_outage(redis, plan.outage_s))
        await die()
        died_at = time.monotonic()
        if plan.kind == "process":
            del watchers[plan.at % count]
        seconds = await asyncio.gather(
            *(_shown_for(watcher, plan, died_at, longest_s) for watcher in watchers)
        )
        await outage
        if plan.kind == "process":
            await asyncio.to_thread(site.at(plan.at).start)
            watchers.append(await _enter(stack, site.at(plan.at), WATCHER))
        if max(seconds) < longest_s:
            left = {WATCHER: len(watchers), SPREAD: 1}
            await asyncio.gather(*(watcher.sees(**left) for watcher in watchers))
    return {
        "kind": plan.kind,
        "at": plan.at,
        "people": len(plan.names) + 1,
        "outage_s": round(plan.outage_s, 1),
        "shown_s": round(max(seconds), 2),
    }


async def _enter(stack: AsyncExitStack, hub: LiveHub, name: str) -> Tab:
    """Connect, again where a loaded hub said "try again" by closing: real clients come back too."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await Tab.enter(stack, hub, name)
            except HubRefused as refused:
                if refused.code != "unreachable":
                    raise


async def _outage(redis: RedisServer | None, seconds: float) -> None:
    if redis is None or not seconds:
        return
    await asyncio.to_thread(redis.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(redis.start)


async def _shown_for(watcher: Tab, plan: Plan, died_at: float, longest_s: float) -> float:
    """For how long a watcher is shown anybody of them, in seconds; the longest where for ever."""
    while time.monotonic() - died_at < longest_s:
        seen = watcher.seen()
        if not any(name in seen for name in plan.names) and seen.get(SPREAD, ("", 0))[1] == 1:
            return time.monotonic() - died_at
        await asyncio.sleep(0.01)
    return longest_s


def _verdict(options: argparse.Namespace, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    bound_s = options.disconnect_after + ALLOWANCE_S
    shown = [each["shown_s"] for each in rounds]
    return {
        "seed": options.seed,
        "hubs": 1 if options.sqlite else options.hubs,
        "deaths": len(rounds),
        "bound_s": bound_s,
        "longest_s": max(shown, default=0.0),
        "median_s": statistics.median(shown or [0.0]),
        "ghosts": [each for each in rounds if each["shown_s"] > bound_s],
        "rounds": rounds,
    }


if __name__ == "__main__":
    sys.exit(main())
