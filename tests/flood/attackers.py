"""Those who flood: sockets that send in volleys and count the answers, and short-lived ones."""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from tests.flood.frames import ENGINE_FRAMES, OK, PERSON_FRAMES
from tests.hostile.raw import Member, Raw, prefix

__all__ = ["Attacker", "Tally", "knock"]

VOLLEY: Final = 100  # below the inbox's bound, or the hub would refuse by that
ANSWERED_WITHIN_S: Final = 120.0
OWN_CODES: Final = 4400
FOREIGN: Final = "origin_forbidden"
EVIL: Final = {"Origin": "https://evil.example"}
# What breaks a connection, and the code of the record that is left of it.
BREAKERS: Final[Mapping[str, str]] = {
    "9": "malformed",
    "42{}": "malformed",
    '40{"token":"eyJhbGciOiJub25lIn0.e30."}': "auth_invalid",
    '40{"simulated":true}': "auth_bypass_attempt",
    "40": "auth_required",
}


class Tally:
    """What was sent, by the refusal that must follow, and the refusals that came."""

    def __init__(self) -> None:
        self.due: Counter[str] = Counter()
        self.came: Counter[str] = Counter()

    @property
    def frames(self) -> int:
        return self.due.total()


class Attacker(Member):
    """A genuine login, or engine, in the wrong hands."""

    def __init__(self, url: str, who: Mapping[str, Any], tally: Tally, *, ip: str) -> None:
        super().__init__(url, who, ip=ip)
        self.tally = tally
        self.own: Counter[str] = Counter()
        self._frames = ENGINE_FRAMES if self.namespace == "/engine" else PERSON_FRAMES
        self._waiting = 0
        self._done = asyncio.Event()
        self._serial = itertools.count(1_000)
        self._random = random.Random(ip)  # noqa: S311 - the mixture need not be secret

    async def volley(self, count: int) -> None:
        """Send so many frames, mixed, and wait for an answer to each."""
        used = await self._renewed()
        self._waiting, self.joined = count, True
        self._done.clear()
        for attack in self._random.choices(self._frames, k=count):
            event, args = attack.make(self, used)
            self.tally.due[attack.error] += 1
            body = json.dumps([event, *args])
            await self.send(f"42{prefix(self.namespace)}{next(self._serial)}{body}")
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            await self._done.wait()
        self.joined = False
        self.frames.clear()

    joined = False

    async def _renewed(self) -> dict[str, Any]:
        """A message that is accepted now, so that sending it again is a replay."""
        if self.namespace == "/engine":
            used = self.sign("engine_heartbeat", {"attempts": []})
            answer = await self.report("engine_heartbeat", used)
        else:
            used = self.sign("presence", {"state": "active"})
            answer = await self.act(used)
        if answer["ok"] is not True:
            raise ConnectionError(answer)
        return used

    def _keep(self, frame: str) -> None:
        if not self.joined:
            super()._keep(frame)
            return
        head = f"43{prefix(self.namespace)}"
        if not frame.startswith(head):
            return
        answer = json.loads(frame[frame.index("[") :])[0]
        code = OK if answer["ok"] else answer["error"]
        self.tally.came[code] += 1
        self.own[code.lower()] += code != OK
        self._waiting -= 1
        if not self._waiting:
            self._done.set()


_breakers: Final = itertools.cycle([*BREAKERS, FOREIGN])


async def knock(url: str, ip: str, tally: Tally) -> Counter[str]:
    """One short-lived connection that is refused, or breaks the protocol; what it leaves."""
    frame = next(_breakers)
    kind = BREAKERS.get(frame, FOREIGN)
    tally.due[kind] += 1
    refuse = _foreign if kind == FOREIGN else _broken
    refused = await refuse(url, ip, frame)  # before the sum is read, which others change meanwhile
    tally.came[kind] += refused
    return Counter({kind: 1})


async def _foreign(url: str, ip: str, _frame: str) -> bool:
    return await Raw(url, ip=ip, headers=EVIL).status() == HTTPStatus.FORBIDDEN


async def _broken(url: str, ip: str, frame: str) -> bool:
    async with Raw(url, ip=ip) as client:
        await client.send_all(frame)
        return await client.closed() >= OWN_CODES
