"""What a flood must not do: starve bystanders, or make the hub grow."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Final

from tests.hostile.raw import Member

__all__ = ["Bystander", "Memory"]

EVERY_S: Final = 0.1
MIB: Final = 1024


@dataclass
class Bystander:
    """Somebody who acts and beats all along. ``waits`` is how long each answer took, in seconds."""

    member: Member
    waits: list[float] = field(default_factory=list)

    async def live(self) -> None:
        """Until cancelled. Raises AssertionError for an answer that is not ok."""
        while True:
            began = time.monotonic()
            envelope = self.member.sign("presence", {"state": "active"})
            assert (await self.member.act(envelope))["ok"] is True
            assert (await self.member.call("heartbeat"))["ok"] is True
            self.waits.append(time.monotonic() - began)
            self.member.frames.clear()
            await asyncio.sleep(EVERY_S)

    def facts(self) -> dict[str, float]:
        """Milliseconds for two answers in a row."""
        ordered = sorted(self.waits)
        cuts = quantiles(ordered, n=100, method="inclusive") if len(ordered) > 1 else ordered * 99
        return {
            "rounds": len(ordered),
            "p50_ms": round(cuts[49] * 1000, 1),
            "p99_ms": round(cuts[98] * 1000, 1),
            "max_ms": round(ordered[-1] * 1000, 1),
        }


@dataclass
class Memory:
    """The resident memory of a process, in MiB, as it was looked at."""

    pid: int
    seen: list[float] = field(default_factory=list)

    async def look(self) -> None:
        """Until cancelled."""
        while True:
            self.seen.append(self.now())
            await asyncio.sleep(EVERY_S)

    def now(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found, "the process is gone"
        return int(found[1]) / MIB

    def facts(self) -> dict[str, float]:
        """The first, the most, and by how much the second half went beyond the first."""
        half = len(self.seen) // 2 or 1
        return {
            "first_mib": round(self.seen[0], 1),
            "most_mib": round(max(self.seen), 1),
            "late_growth_mib": round(max(self.seen[half:] or [0]) - max(self.seen[:half]), 1),
        }
