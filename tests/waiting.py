"""Waiting for what happens soon, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

SOON_S = 10.0


async def soon(claim: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it is so. Raises TimeoutError when it is not within SOON_S."""
    async with asyncio.timeout(SOON_S):
        while True:
            said = claim()
            if await said if isawaitable(said) else said:
                return
            await asyncio.sleep(0.002)
