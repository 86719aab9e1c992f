"""A channel layer of several processes, all of them in the test's own."""

import asyncio
from typing import Any

__all__ = ["Layer"]


class Layer:
    """A layer of several processes, all in this one."""

    def __init__(self) -> None:
        self.groups: dict[str, set[str]] = {}
        self.channels: dict[str, asyncio.Queue[Any]] = {}
        self.fails = 0

    async def new_channel(self) -> str:
        self._maybe_fail()
        name = f"c{len(self.channels)}"
        self.channels[name] = asyncio.Queue()
        return name

    async def group_add(self, group: str, channel: str) -> None:
        self._maybe_fail()
        self.groups.setdefault(group, set()).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups.get(group, set()).discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._maybe_fail()
        for channel in self.groups.get(group, ()):
            self.channels[channel].put_nowait(message)

    async def receive(self, channel: str) -> Any:
        return await self.channels[channel].get()

    def _maybe_fail(self) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError
