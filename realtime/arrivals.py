"""Newcomers of one process: so many are let in at a time, the others wait in line.

When a process dies, all its clients come to the others within a second or two. If all of them were
served at once, each would be served so slowly that clients give up and begin anew, and the work on
those who have given up keeps the others waiting: with two thousand on two cores three of four
attempts were in vain. In line, whoever has given up costs nothing, and whoever is let in is done
soon. Beyond the line, handshakes are answered with 503, which stock clients try again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["Arrivals"]

AT_ONCE: Final = 32  # more than enough for the database threads of a process
# At 4 ms of work for each, the last in line is served within the 20 s that a stock client waits,
# also on a busy machine.
IN_LINE: Final = 992
# Nobody keeps a place by not reading, and a database that hangs does not stop the line.
HOLDS_S: Final = 4.0


class Arrivals:
    """The line of one process."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._here = 0

    @property
    def crowded(self) -> bool:
        """Whether newcomers had better come later."""
        return self._here >= AT_ONCE + IN_LINE

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and keep it for the block, but no longer than HOLDS_S."""
        self._here += 1
        try:
            await self._places.acquire()
        except BaseException:
            self._here -= 1
            raise
        held = True

        def leave() -> None:
            """Once, whichever comes first: clocks are no way to know what was done already."""
            nonlocal held
            if held:
                held = False
                self._here -= 1
                self._places.release()

        late = asyncio.get_running_loop().call_later(HOLDS_S, leave)
        try:
            yield
        finally:
            late.cancel()
            leave()
