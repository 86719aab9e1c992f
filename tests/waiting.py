"""Waiting for what happens soon, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

SOON_S = 10.0


async def soon(claim: Callable[[], bool | Awaitable[bool]], *, within_s: float = SOON_S) -> None:
    """Wait until it is so. Raises TimeoutError when it is not within so many seconds."""
    async with asyncio.timeout(within_s):
        while True:
            said = claim()
            if await said if isawaitable(said) else said:
                return
            await asyncio.sleep(0.002)
