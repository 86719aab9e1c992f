"""The reference agent in a process of its own, and agents of tests in the test's own loop."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from realtime.agents.client import Agent
from tests.live import CHECKOUT, MANAGE, LiveHub
from tests.waiting import soon

__all__ = ["HEARD_WITHIN_S", "Listener", "listening", "reference_agent"]

STOPS_WITHIN_S = 20.0
HEARD_WITHIN_S = 30.0


@contextmanager
def reference_agent(
    hub: LiveHub, secret: str, *options: str, name: str = "coach"
) -> Iterator["subprocess.Popen[str]"]:
    """Run ``manage.py agent`` until the block ends, and see it end well."""
    process = subprocess.Popen(
        [sys.executable, str(MANAGE), "agent", "--url", hub.url, "--name", name, *options],
        env={
            "PATH": os.environ["PATH"],
            "HUB_AGENT_SECRET": secret,
            "HUB_DATA_DIR": str(hub.data_dir),
        },
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    try:
        yield process
    finally:
        process.terminate()
        _, said = process.communicate(timeout=STOPS_WITHIN_S)
        assert process.returncode == 0, said
        assert secret not in said


class Listener:
    """An agent that keeps what it hears."""

    def __init__(self, hub: LiveHub, name: str, secret: str) -> None:
        self.agent = Agent(hub.url, name, secret)
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.agent.on_action(self.heard.put_nowait)

    async def next(self, kind: str) -> dict[str, Any]:
        """The next action of a type that it hears."""
        async with asyncio.timeout(HEARD_WITHIN_S):
            while (action := await self.heard.get())["type"] != kind:
                pass
        return action

    async def in_rooms(self, *rooms: str) -> None:
        """Return when it is connected, with exactly these rooms."""
        await soon(
            lambda: self.agent.connected and self.agent.rooms == rooms, within_s=HEARD_WITHIN_S
        )


@asynccontextmanager
async def listening(hub: LiveHub, name: str, secret: str, *rooms: str) -> AsyncIterator[Listener]:
    """An agent that runs while the block does."""
    listener = Listener(hub, name, secret)
    running = asyncio.create_task(listener.agent.run())
    try:
        waiting = asyncio.create_task(listener.in_rooms(*rooms))
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await waiting
        yield listener
    finally:
        listener.agent.stop()
        async with asyncio.timeout(STOPS_WITHIN_S):
            await running
