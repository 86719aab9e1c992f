"""What the tests of the engine side share around `engine.sdk.testing.FakeHub`."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from engine.sdk import Context, Engine, Job, Timing
from engine.sdk.testing import DEADLINE_S, FakeHub, Said, engine_job

__all__ = [
    "DEADLINE_S",
    "NAME",
    "QUICK",
    "FakeHub",
    "Running",
    "Said",
    "engine_job",
    "nothing",
]

NAME = "builder"  # FakeHub's own, unless it is given another

QUICK = Timing(
    connect_s=5, ack_s=5, first_delay_s=0.01, longest_delay_s=0.05, progress_s=0.01, farewell_s=2
)
"""Waits for a network without distance."""

Running = Callable[[Engine], AbstractAsyncContextManager["asyncio.Task[None]"]]
"""The type of the fixture that runs an engine beside a test."""


async def nothing(_job: Job, _context: Context) -> None:
    """Handle a job without doing anything."""
