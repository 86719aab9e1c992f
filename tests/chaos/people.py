"""People who ask for worlds whatever happens to the hubs, and count every event of their feed."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import socketio

from realtime.client import HubClient, HubRefused
from tests.chaos.fleet import Hub
from tests.chaos.worlds import plain_world
from tests.live import PASSWORD

FEED_EVENTS = ("build_status", "job_status", "world_update", "job_error")
TROUBLE = (
    HubRefused,
    OSError,
    TimeoutError,
    aiohttp.ClientError,
    socketio.exceptions.SocketIOError,
)
REMEMBERED = 20


class Person:
    """One login, with one socket at a time, at any of the hubs."""

    def __init__(self, name: str, hubs: Sequence[Hub], *, seed: int) -> None:
        self.name = name
        self.accepted: set[str] = set()
        self.seen: Counter[str] = Counter()
        self.epoch, self.last = "", 0
        self._hubs = hubs
        self._random = random.Random(seed)  # noqa: S311 - chaos that can be repeated
        self._login: dict[str, Any] = {}
        self._builds: list[str] = []
        self._failed: list[str] = []
        self._pending: dict[str, Any] | None = None

    async def live(self, stop: asyncio.Event) -> None:
        """Ask for worlds until told to stop; come back after every break."""
        while not stop.is_set():
            try:
                await self._visit(stop)
            except TROUBLE as trouble:
                what = getattr(trouble, "code", "")
                self.seen[f"trouble: {type(trouble).__name__} {what}".rstrip()] += 1
                await asyncio.sleep(self._random.uniform(0.2, 1.0))

    async def catch_up(self, head: int, within_s: float) -> None:
        """Come back once more and hear the rest of the feed. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while self.last < head:
                try:
                    async with self._client() as client:
                        await self._join(client)
                        while self.last < head:  # noqa: ASYNC110 - the events move it
                            await asyncio.sleep(0.05)
                except TROUBLE as trouble:
                    if isinstance(trouble, TimeoutError):
                        raise
                    await asyncio.sleep(0.5)

    def _client(self) -> HubClient:
        client = HubClient(self._random.choice(self._hubs).url)
        for event in FEED_EVENTS:
            client.on(event, lambda data, event=event: self._hear(event, data))
        client.on("feed_snapshot", lambda _data: self.seen.update(["snapshot"]))
        return client

    async def _visit(self, stop: asyncio.Event) -> None:
        async with self._client() as client:
            await self._join(client)
            self.seen["visits"] += 1
            while not stop.is_set() and client.socket.connected:
                await self._act(client)
                await asyncio.sleep(self._random.uniform(0.2, 2.0))

    async def _join(self, client: HubClient) -> None:
        if not self._login:
            await client.sign_in(self.name, PASSWORD)
            self._login = client.login
        client.login = self._login
        place = {"epoch": self.epoch, "after": self.last} if self.epoch else None
        session = await client.connect(feed=place)
        if not self.epoch:
            self.epoch, self.last = session["feed"]["epoch"], session["feed"]["head"]
        elif not session["feed"]["recovered"]:
            self.seen["not recovered"] += 1

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        if event == "job_status" and data["status"] == "failed":
            self._failed = [*self._failed, data["job_id"]][-REMEMBERED:]
        if "seq" not in data:
            return
        self.seen["feed events"] += 1
        if data["seq"] > self.last + 1:
            self.seen["gaps"] += 1
        self.seen["repeated"] += data["seq"] <= self.last
        self.last = max(self.last, data["seq"])

    # What they do.

    async def _act(self, client: HubClient) -> None:
        dice = self._random.random()
        try:
            if dice < 0.06 and self._builds:
                await client.act("build_cancel", {"build_id": self._random.choice(self._builds)})
            elif dice < 0.16 and self._failed:
                await client.act("job_retry", {"job_id": self._random.choice(self._failed)})
            else:
                await self._submit(client)
        except HubRefused as refused:
            self.seen[f"refused: {refused.code}"] += 1
            if refused.code not in {"conflict", "not_found", "quota_exceeded", "try_again"}:
                raise

    async def _submit(self, client: HubClient) -> None:
        """Ask for a world; what was not answered is asked again under the same name."""
        if self._pending is None:
            spec = plain_world(entities=self._random.randint(1, 6))
            self._pending = {"spec": spec, "request_id": secrets.token_hex(8)}
        try:
            answer = await client.act("generate_world", self._pending)
        except HubRefused as refused:
            if refused.code == "quota_exceeded":  # it was not accepted, so it need not be again
                self._pending = None
            raise
        self._pending = None
        self.accepted.add(answer["build_id"])
        self._builds = [*self._builds, answer["build_id"]][-REMEMBERED:]
