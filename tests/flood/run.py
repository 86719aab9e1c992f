"""One flood against a staged hub, and the verdict on it."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from tests.flood.attackers import VOLLEY, Attacker, Tally, knock
from tests.flood.frames import OK
from tests.flood.watch import Bystander, Memory
from tests.hostile.stage import ENGINES, PEOPLE, Stage

__all__ = ["SETTINGS", "Flood"]

MANY: Final = "1000000000"
SETTINGS: Final = {
    "HUB_ACCESS_TOKEN_S": "28000",  # longer than any flood
    # A machine that is busy with other things answers late; that must not change the answer.
    "HUB_DRIFT_MS": "60000",
    "HUB_SERVICE_DRIFT_MS": "60000",
    "HUB_CONNECT_DEADLINE_S": "60",
    "HUB_VIOLATION_BUDGET": MANY,
    "HUB_SOCKETS_PER_USER": MANY,
    "HUB_SOCKETS_PER_PROCESS": MANY,
    "HUB_HANDSHAKES_PER_S": MANY,
    "HUB_HANDSHAKE_BURST": MANY,
    **{f"HUB_{name}": MANY for name in ("MESSAGES_PER_S", "MESSAGE_BURST")},
    **{f"HUB_{name}": MANY for name in ("ENGINE_MESSAGES_PER_S", "ENGINE_MESSAGE_BURST")},
    **{f"HUB_{name}": MANY for name in ("BYTES_PER_S", "BYTE_BURST")},
}
"""Limits that do not refuse before the check that a frame is meant for."""

BYSTANDER_WAITS_S: Final = 30.0
GROWS_MIB: Final = 64.0


@dataclass
class Flood:
    """So many frames, from so many sockets; one of a hundred is a connection of its own."""

    stage: Stage
    pid: int
    frames: int
    sockets: int

    async def run(self) -> dict[str, Any]:
        """Flood, and look at the books."""
        tally, began = Tally(), time.monotonic()
        async with AsyncExitStack() as stack:
            bystander = Bystander(await stack.enter_async_context(self._member("person0")))
            attackers = [
                await stack.enter_async_context(self._attacker(number, tally))
                for number in range(self.sockets)
            ]
            memory = Memory(self.pid)
            watching = [asyncio.ensure_future(each) for each in (bystander.live(), memory.look())]
            await self._attack(attackers, tally)
            served = not any(task.done() for task in watching)
            for task in watching:
                task.cancel()
            for attacker in attackers:
                self._expect(attacker)
        facts = {
            "frames": tally.frames,
            "sockets": self.sockets,
            "seconds": round(time.monotonic() - began, 1),
            "refused": {code: tally.came[code] for code in sorted(tally.came) if code != OK},
            "accepted": tally.came[OK],
            "violation_rows": self.stage.ask("SELECT count(*) FROM security_violation")[0][0],
            "bystander": bystander.facts(),
            "memory": memory.facts(),
        }
        return {**facts, "gaps": await self._gaps(tally, facts, served=served)}

    # -- the flood

    def _member(self, name: str) -> Any:
        return self.stage.member(self.stage.cast[name], self.stage.address({}))

    def _attacker(self, number: int, tally: Tally) -> Attacker:
        """Engines are few, because a second connection of one replaces the first."""
        if number < min(ENGINES - 1, self.sockets // 8):
            who = self.stage.cast[f"engine{number + 1}"]
        else:
            who = self.stage.cast[f"person{2 + number % (PEOPLE - 2)}"]
        return Attacker(self.stage.hub.url, who, tally, ip=self.stage.address({}))

    async def _attack(self, attackers: list[Attacker], tally: Tally) -> None:
        async def storm(attacker: Attacker) -> None:
            while tally.frames < self.frames:
                await attacker.volley(VOLLEY)
                ip = self.stage.address({})
                self.stage.expected[ip] = await knock(self.stage.hub.url, ip, tally)

        await asyncio.gather(*map(storm, attackers))

    def _expect(self, attacker: Attacker) -> None:
        ip = attacker.headers["X-Forwarded-For"]
        self.stage.expected[ip] = Counter({kind: n for kind, n in attacker.own.items() if n})

    # -- the verdict

    async def _gaps(self, tally: Tally, facts: dict[str, Any], *, served: bool) -> list[str]:
        gaps = []
        if tally.came != tally.due:
            gaps.append(f"answers: {_difference(tally.due, tally.came)}")
        on_record = await asyncio.to_thread(self._on_record)
        if on_record != self._expected():
            gaps.append(f"records: {_difference(self._expected(), on_record)}")
        if self.stage.domain() != self.stage.calm:
            gaps.append("the domain's tables changed")
        if not served or facts["bystander"]["max_ms"] > BYSTANDER_WAITS_S * 1000:
            gaps.append(f"a bystander was not served: {facts['bystander']}")
        if facts["memory"]["late_growth_mib"] > GROWS_MIB:
            gaps.append(f"the hub grows: {facts['memory']}")
        return gaps

    def _expected(self) -> Counter[str]:
        return sum(self.stage.expected.values(), Counter())

    def _on_record(self) -> Counter[str]:
        """By kind, over all rows: with many addresses the last of them share theirs."""
        deadline = time.monotonic() + 30.0
        query = "SELECT kind, sum(count) FROM security_violation GROUP BY 1"
        while True:
            found = Counter(dict(self.stage.ask(query)))
            if found == self._expected() or time.monotonic() > deadline:
                return found
            time.sleep(0.1)  # another process writes, and says nothing when it is done


def _difference(due: Counter[str], came: Counter[str]) -> dict[str, tuple[int, int]]:
    return {
        name: (due[name], came[name])
        for name in sorted(due.keys() | came.keys())
        if due[name] != came[name]
    }
