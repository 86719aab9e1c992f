"""Faults: processes that are killed and come back, or that hang for a while, at random."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.chaos.fleet import Fleet

# Longer than a lease now and then, shorter than a minute: what hangs must be worked around.
PAUSES_S = (0.3, 1.0, 3.0, 8.0, 14.0, 20.0)
PAUSE_ODDS = (4, 4, 4, 3, 3, 1)
DOWN_S = (0.0, 0.5, 3.0)
WEIGHTS = {"hub": 4, "engine": 4, "redis": 2, "postgres": 2}
SERVERS = {"redis", "postgres"}
KILL_ODDS = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Something that can fall, and the lock of who falls already."""

    kind: str
    thing: Any
    lock: asyncio.Lock


class Storm:
    """Makes ``count`` faults within about ``seconds``; ``made`` counts them by kind.

    PostgreSQL falls only where ``database`` says so: each of its faults stops everything else.
    """

    def __init__(
        self, fleet: Fleet, *, count: int, seconds: float, seed: int, database: bool = False
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chaos that can be repeated
        things = [("hub", each) for each in fleet.hubs]
        things += [("engine", each) for each in fleet.engines]
        things += [("redis", fleet.redis)] if fleet.redis else []
        things += [("postgres", fleet.postgres)] if database and fleet.postgres else []
        self._targets = [Target(kind, thing, asyncio.Lock()) for kind, thing in things]
        self._count, self._pause_s = count, seconds / count
        self.made: Counter[str] = Counter()

    async def run(self) -> None:
        """Make all faults; everything is up and awake when it returns."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._fault(await self._next_target()))
                await asyncio.sleep(self._random.uniform(0.2, 1.8) * self._pause_s)

    async def _next_target(self) -> Target:
        """Something that is up, taken before anybody else takes it."""
        while not (free := [each for each in self._targets if not each.lock.locked()]):  # noqa: ASYNC110 - any of many locks
            await asyncio.sleep(0.05)
        weights = [WEIGHTS[each.kind] for each in free]
        (chosen,) = self._random.choices(free, weights)
        await chosen.lock.acquire()
        return chosen

    async def _fault(self, target: Target) -> None:
        killed = self._random.random() < KILL_ODDS
        fault: Callable[[Target], Awaitable[None]] = self._kill if killed else self._hang
        self.made[f"{target.kind} {'killed' if killed else 'stopped'}"] += 1
        try:
            await fault(target)
        finally:
            target.lock.release()

    async def _kill(self, target: Target) -> None:
        await asyncio.to_thread(target.thing.kill)
        await asyncio.sleep(self._random.choice(DOWN_S))
        await asyncio.to_thread(target.thing.start)
        with suppress(AttributeError):  # a server of tests.services waits in its start
            await asyncio.to_thread(target.thing.wait_until_up)

    async def _hang(self, target: Target) -> None:
        (seconds,) = self._random.choices(PAUSES_S, PAUSE_ODDS)
        target.thing.pause()
        try:
            await asyncio.sleep(min(seconds, 3.0) if target.kind in SERVERS else seconds)
        finally:
            target.thing.resume()
