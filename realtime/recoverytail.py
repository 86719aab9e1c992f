"""The end of a namespace's stream of events in Redis, as one process has read it.

After a process has stopped, all its clients come back within seconds and each has missed much the
same. They share what is read: it is read once, and then on from there; who waits for a reading that
has not begun waits for the same one. It is forgotten when nobody has asked for a while.
"""

import asyncio
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from realtime.offsets import Offset, offset_of
from realtime.recovery import Missable
from realtime.state.link import Link

__all__ = ["Kept", "Tail"]

PAGE: Final = 500  # events of one reading, which others wait for


@dataclass(frozen=True, slots=True)
class Kept:
    """An event out of the stream."""

    event: Missable
    offset: Offset


class Tail:
    """Events of one namespace, oldest first; ``most`` of them are held."""

    def __init__(self, link: Link, key: str, namespace: str, *, most: int) -> None:
        self._link = link
        self._key = key
        self._namespace = namespace
        self._most = most
        self._since_ms: int | None = None  # by Redis's clock: from here on nothing is missing
        self._wanted_ms = 0
        self._last = ""
        self._times: list[int] = []
        self._events: list[Kept] = []
        self._reading: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def read(self, start_ms: int) -> None:
        """Have all that was kept from a time on until now. Raises StateUnreachable."""
        if self._waiting is None:
            self._wanted_ms = start_ms
            self._waiting = asyncio.get_running_loop().create_task(self._after(self._reading))
        self._wanted_ms = min(self._wanted_ms, start_ms)
        await asyncio.shield(self._waiting)

    def since(self, start_ms: int) -> Sequence[Kept]:
        """What is held from a time on."""
        return self._events[bisect_left(self._times, start_ms) :]

    def holds(self, offset: Offset, *, start_ms: int) -> bool:
        """Whether an event is among those from a time on."""
        wanted = (offset.process, offset.number)
        return any(
            (each.offset.process, each.offset.number) == wanted for each in self.since(start_ms)
        )

    async def _after(self, reading: "asyncio.Task[None] | None") -> None:
        if reading is not None:
            await asyncio.wait([reading])
        self._reading, self._waiting = self._waiting, None
        if self._since_ms is None or self._wanted_ms < self._since_ms:
            self._since_ms, self._last = self._wanted_ms, str(max(0, self._wanted_ms))
            self._times, self._events = [], []
        await self._read_on()

    async def _read_on(self) -> None:
        while True:
            asked = self._link.submit("XRANGE", self._key, self._last, "+", "COUNT", PAGE)
            page = await self._link.answer(asked)
            for name, fields in page:
                self._take(name.decode(), fields[1])
            if len(page) < PAGE:
                break
        surplus = len(self._events) - self._most
        if surplus > 0:
            del self._events[:surplus], self._times[:surplus]
            self._since_ms = self._times[0]

    def _take(self, name: str, kept: bytes) -> None:
        self._last = f"({name}"
        event = _event(self._namespace, kept)
        if event is not None:
            self._events.append(event)
            self._times.append(int(name.partition("-")[0]))


def _event(namespace: str, kept: bytes) -> Kept | None:
    data = orjson.loads(kept)
    text, *rest = data["f"]
    frames = (text, *(b64decode(each[1:]) for each in rest))
    offset = offset_of(frames)
    if offset is None:
        return None
    return Kept(Missable(namespace, data["r"], data["x"], frames), offset)
