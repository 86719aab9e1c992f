"""A hub as a site runs it: one process on memory and SQLite, or several on Redis and PostgreSQL.

The same tests hold on both: a test names processes by number, and where there is only one of them
every number is that one.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from realtime.client import HubClient
from tests.live import PASSWORD, LiveHub
from tests.waiting import soon

__all__ = ["PATIENCE_S", "Guest", "Site", "Tab"]

PATIENCE_S = 60.0  # a claim that holds soon, on a machine that does other things as well
LOBBY = "lobby"
# All in one process: a command for each would take longer than the tests.
ADD_PEOPLE = (
    "[User.objects.create_user(name, password={password!r}, is_staff=name == 'admin',"
    " is_superuser=name == 'admin').pk"
    " for name in {names!r}]"
)

LOGINS: dict[tuple[Path, str], dict[str, Any]] = {}
TOKEN_LIFE = {"HUB_ACCESS_TOKEN_S": "7200"}


class Site:
    """``count`` processes with the same keys and database; ``people`` may sign in."""

    def __init__(
        self, folder: Path, *, count: int, people: tuple[str, ...], environ: Mapping[str, str]
    ) -> None:
        self._people = people
        self.hubs = [LiveHub(data_dir=folder, **{**TOKEN_LIFE, **environ}) for _ in range(count)]

    def __enter__(self) -> Self:
        self.hubs[0].manage("migrate", "--verbosity", "0")
        self.hubs[0].query(ADD_PEOPLE.format(names=self._people, password=PASSWORD))
        with ThreadPoolExecutor() as threads:
            list(threads.map(LiveHub.start, self.hubs))
        return self

    def __exit__(self, *_exc: object) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(LiveHub.stop, self.hubs))

    @property
    def several(self) -> bool:
        """Whether there are other processes."""
        return len(self.hubs) > 1

    def at(self, number: int) -> LiveHub:
        """One of the processes."""
        return self.hubs[number % len(self.hubs)]


class Guest:
    """A person's client that keeps what it is told of presence, room by room."""

    def __init__(self, client: HubClient) -> None:
        self.client = client
        self.rooms: dict[str, dict[str, dict[str, Any]]] = {}
        self.diffs: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []
        self._entering = [LOBBY]
        client.on("presence_state", self._on_state)
        client.on("presence_diff", self._on_diff)
        client.on("action_update", self.updates.append)

    @classmethod
    async def enter(cls, stack: AsyncExitStack, hub: LiveHub, name: str) -> Self:
        """Sign in and connect at a process; ``stack`` ends it."""
        return await cls.enter_by(stack, hub, hub.url, name)

    @classmethod
    async def enter_by(cls, stack: AsyncExitStack, hub: LiveHub, url: str, name: str) -> Self:
        """The same by another way to a process."""
        guest = cls(await stack.enter_async_context(HubClient(url)))
        await guest.sign_in(hub, name)
        await guest.client.connect()
        await soon(lambda: LOBBY in guest.rooms, within_s=PATIENCE_S)
        return guest

    async def sign_in(self, hub: LiveHub, name: str) -> None:
        """With a login of one's own, which nobody else's refusals are charged to."""
        await self.client.sign_in(name, PASSWORD)

    async def join(self, room: str) -> None:
        """Into a room; returns when its list has come."""
        self._entering.append(room)
        await self.client.act("room_join", {"room": room})
        await soon(lambda: room in self.rooms, within_s=PATIENCE_S)

    async def leave(self, room: str) -> None:
        """Out of a room."""
        await self.client.act("room_leave", {"room": room})
        del self.rooms[room]

    async def fall_silent(self) -> None:
        """The heart stops; the socket stays."""
        beating = self.client._beating
        assert beating is not None
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)

    def seen(self, room: str = LOBBY) -> dict[str, tuple[str, int]]:
        """Who is in a room, in which state and with how many sockets."""
        return {
            member["username"]: (member["state"], member["sockets"])
            for member in self.rooms[room].values()
        }

    async def sees(self, *, room: str = LOBBY, within_s: float = PATIENCE_S, **who: object) -> None:
        """Wait until exactly these are there: ``ada=2`` sockets, or ``ada=("idle", 1)``."""
        expected = {
            name: said if isinstance(said, tuple) else ("active", said)
            for name, said in who.items()
        }
        try:
            await soon(lambda: self.seen(room) == expected, within_s=within_s)
        except TimeoutError:
            raise AssertionError(f"sees {self.seen(room)} in {room}, not {expected}") from None

    def _on_state(self, members: list[dict[str, Any]]) -> None:
        self.rooms[self._entering.pop(0)] = {each["user_id"]: each for each in members}

    def _on_diff(self, diff: dict[str, Any]) -> None:
        self.diffs.append(diff)
        known = self.rooms.get(diff["room"])
        if known is None:
            return  # left meanwhile
        for member in (*diff["joins"], *diff["changes"]):
            known[member["user_id"]] = member
        for member in diff["leaves"]:
            known.pop(member["user_id"], None)


class Tab(Guest):
    """A guest in one of many tabs: signed in once. Checking a password takes longer than a test."""

    async def sign_in(self, hub: LiveHub, name: str) -> None:
        """As in the tab before."""
        login = LOGINS.get((hub.data_dir, name))
        if login is None:
            await super().sign_in(hub, name)
            LOGINS[hub.data_dir, name] = self.client.login
        else:
            self.client.login = login
