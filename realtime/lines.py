"""One connection carried between its edge and the owner of its session, seen from either end.

Layers lose messages silently, hence each end counts what it hears. Neither end is told to wait by
the layer, hence each says how much it has taken: who sends faster than the other end takes waits,
and the bounds for slow readers hold as if the connection ended here. What is said within one turn
of the loop is carried as one message.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from realtime.bus import Bus

__all__ = ["SILENCE_S", "TAKES_S", "WINDOW", "Line", "LineBroken", "topic_of"]

SILENCE_S: Final = 5.0
# Longer than the deadline of a write (OutboxLimits): it is for the owner to call a reader slow.
TAKES_S: Final = 20.0
WINDOW: Final = 256 * 1024  # bytes that may be under way to the other end
MESSAGE_COST: Final = 512  # of a message besides its bytes
WAITING: Final = 2_000  # messages that may wait here; an honest end has fewer in its window


class LineBroken(Exception):
    """A message is missing, too many wait, or the other end is silent."""


class Line:
    """Messages of ASGI, and what the two ends have to say to one another besides."""

    def __init__(self, bus: Bus, name: str, other: str) -> None:
        self._bus = bus
        self._name = name
        self._topic = topic_of(other)
        self._said: list[tuple[str, object]] = []
        self._sent = 0
        self._heard = 0
        self._under_way = 0
        self._taken = 0
        self._eased = asyncio.Event()
        self._incoming: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()

    @property
    def unheard(self) -> bool:
        """Whether the other end has never said anything."""
        return self._heard == 0

    def say(self, kind: str, data: object = None) -> None:
        """Send something, at the end of this turn of the loop."""
        if not self._said:
            asyncio.get_running_loop().call_soon(self._flush)
        self._said.append((kind, data))

    async def tell(self, message: dict[str, Any]) -> None:
        """Send a message of ASGI; waits while too much is under way.

        Raises ConnectionError when the other end takes nothing any more.
        """
        self.say("asgi", message)
        self._under_way += _cost(message)
        if self._under_way >= WINDOW:
            await self._ease()

    def hear(self, message: Mapping[str, Any]) -> None:
        """A message has come; one that is out of line breaks it."""
        if message["serial"] != self._heard or self._incoming.qsize() >= WAITING:
            self._incoming.put_nowait(None)
            return
        self._heard += 1
        for kind, data in message["said"]:
            if kind == "took":
                self._under_way -= data
                self._eased.set()
            else:
                self._incoming.put_nowait((kind, data))

    async def next(self) -> tuple[str, Any]:
        """The next thing that was said, and its data. Raises LineBroken."""
        said = await self._incoming.get()
        if said is None:
            raise LineBroken
        if said[0] == "asgi":
            self._taken += _cost(said[1])
            if self._taken >= WINDOW // 4:
                self.say("took", self._taken)
                self._taken = 0
        return said

    def _flush(self) -> None:
        said, self._said = self._said, []
        body = {"line": self._name, "node": self._bus.node_id, "serial": self._sent, "said": said}
        self._bus.publish(self._topic, body)
        self._sent += 1

    async def _ease(self) -> None:
        try:
            async with asyncio.timeout(TAKES_S):
                while self._under_way >= WINDOW:
                    self._eased.clear()
                    await self._eased.wait()
        except TimeoutError:
            raise ConnectionError("the other end of the line takes nothing") from None


def topic_of(node_id: str) -> str:
    """The topic that only one process hears."""
    return f"relay:{node_id}"


def _cost(message: Mapping[str, Any]) -> int:
    data = message.get("text") or message.get("bytes") or message.get("body") or ""
    return MESSAGE_COST + len(data)
