"""Presence of several processes in one: real boards and buses, and a clock that tests push."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from typing import Any

import orjson
import pytest

from realtime import bus as bus_module
from realtime.bus import Bus
from realtime.crowd import Crowd
from realtime.presence import Member, State
from realtime.processes import Processes
from realtime.state.interface import StateUnreachable
from realtime.state.memory import MemoryLeases
from realtime.timers import Timers
from tests.realtime.guarded import PushedTime, settle
from tests.realtime.layer import Layer

__all__ = ["LOBBY", "House", "Town"]

LOBBY = "lobby"
KEEP_S = 90.0
STEP_S = 0.05


class Outages(MemoryLeases):
    """Leases of all processes that are unreachable while ``down``, and count what is asked."""

    def __init__(self, time: PushedTime) -> None:
        super().__init__(clock_ms=time.now_ms)
        self.down = False
        self.asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.down:
            raise StateUnreachable("down")

    async def renew(self, owner: str, *, ttl_ms: int) -> bool:
        self._ask()
        return await super().renew(owner, ttl_ms=ttl_ms)

    async def put(
        self, topic: str, name: str, owner: str, value: str = "", *, limit: int | None = None
    ) -> bool:
        self._ask()
        return await super().put(topic, name, owner, value, limit=limit)

    async def remove(self, topic: str, name: str, owner: str) -> None:
        self._ask()
        await super().remove(topic, name, owner)

    async def entries(self, topic: str) -> list[Any]:
        self._ask()
        return await super().entries(topic)

    async def release(self, owner: str) -> None:
        self._ask()
        await super().release(owner)

    async def sweep(self) -> list[Any]:
        self._ask()
        return await super().sweep()

    def forget_everything(self) -> None:
        """What a restart without persistence does."""
        self._until.clear()
        self._topics.clear()


class House:
    """One process. ``view`` is what a client of it knows that has applied every diff."""

    def __init__(self, town: "Town", name: str) -> None:
        self.id = name
        self.now = town.time.time
        self.timers = Timers(town.time)  # type: ignore[arg-type]  # stands in for a loop
        self.bus = Bus(name)
        self.diffs: list[tuple[float, str, dict[str, Any]]] = []
        self.crowd = Crowd(tell=self._told, keep_s=KEEP_S)
        self.processes = Processes(town.leases)
        self.view: dict[str, dict[str, Any]] = defaultdict(dict)
        self._tasks: set[asyncio.Future[Any]] = set()

    def start(self) -> None:
        self.bus.start()
        node: Any = self
        self.crowd.start(node, self.processes)
        self.processes.start(node)

    def background(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def kill(self) -> None:
        """Not a word to anybody."""
        self.timers.stop()
        await self.bus.stop()
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """In peace."""
        await self.crowd.stop()
        await self.processes.stop()
        await self.kill()

    def enter(
        self, user: int, state: State = "active", *, room: str = LOBBY, socket: str = ""
    ) -> None:
        """A socket comes into a room, or shows another state; a client is sent the list."""
        person = Member(str(user), f"p{user}", state, "desktop", 1_000 + user)
        self.crowd.put(room, socket or f"{self.id}-{user}", person)

    def leave(self, user: int, *, room: str = LOBBY, socket: str = "") -> None:
        self.crowd.remove(room, socket or f"{self.id}-{user}", str(user))

    def listed(self, room: str = LOBBY) -> dict[str, tuple[str, int]]:
        """The list that a newcomer would be sent."""
        return {
            each["user_id"]: (each["state"], each["sockets"])
            for each in orjson.loads(self.crowd.list_json(room))
        }

    def told(self, room: str = LOBBY) -> dict[str, tuple[str, int]]:
        """What a client knows that was here from the start."""
        return {user: (each["state"], each["sockets"]) for user, each in self.view[room].items()}

    def _told(self, room: str, diff: dict[str, Any]) -> None:
        self.diffs.append((self.now(), room, diff))
        view = self.view[room]
        for member in (*diff["joins"], *diff["changes"]):
            view[member["user_id"]] = member
        for member in diff["leaves"]:
            del view[member["user_id"]]


class Town:
    """The processes, the layer between them, and what they share."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.time = PushedTime()
        self.layer = Layer()
        self.leases = Outages(self.time)
        self.houses: list[House] = []
        patch.setattr(bus_module, "get_channel_layer", lambda: self.layer)

    async def build(self, count: int = 1) -> list[House]:
        """More processes, who have heard of each other when this returns."""
        new = [House(self, f"h{len(self.houses) + number}") for number in range(count)]
        self.houses += new
        for house in new:
            house.start()
        await self.advance(3.0)
        return new

    async def advance(self, seconds: float) -> None:
        """Time passes in small steps, and everybody does what is due."""
        end = self.time.now + seconds
        while self.time.now < end - 1e-9:
            self.time.advance(min(STEP_S, end - self.time.now))
            await settle()

    async def outage(self, seconds: float, *, forgets: bool = False) -> None:
        """Redis is away: nothing is carried, nobody is asked."""
        self.leases.down, self.layer.fails = True, 10**9
        await self.advance(seconds)
        self.leases.down, self.layer.fails = False, 0
        if forgets:
            self.leases.forget_everything()
