"""The hub's clock: wall time that never goes backwards (docs/security.md).

Wall time at the start plus the monotonic delta since, re-anchored forwards only. So a backward step
of the wall clock (NTP, an operator, a resumed machine) never reopens a window that was closed, and
a forward step is followed at once. What a wrong forward step added stays until a restart;
``ahead_ms`` shows it.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["Clock", "milliseconds", "moment", "now_ms"]

NS_PER_MS = 1_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Integer milliseconds since the epoch, UTC, from two nanosecond sources.

    Usable from any thread; no reading is smaller than one that returned before it was asked for.
    """

    __slots__ = ("_lock", "_monotonic", "_offset", "_wall")

    def __init__(
        self,
        *,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._offset = wall() - monotonic()

    def now_ms(self) -> int:
        """The time now. Never less than an earlier answer."""
        # The wall is read first: a pause between the readings then makes the offset seen too
        # small, which is ignored, instead of too large, which would be kept.
        wall = self._wall()
        monotonic = self._monotonic()
        if wall - monotonic > self._offset:
            self._anchor(wall - monotonic)
        return (monotonic + self._offset) // NS_PER_MS

    def ahead_ms(self) -> int:
        """How far this clock runs before the wall clock: what backward steps took away from it."""
        now = self.now_ms()
        return max(0, now - self._wall() // NS_PER_MS)

    def _anchor(self, offset: int) -> None:
        with self._lock:  # of two threads that saw a step, the one that saw less must not win
            self._offset = max(self._offset, offset)


now_ms = Clock().now_ms
"""The clock of this process. A forked child keeps it: both of its sources go on."""


def moment(at_ms: int) -> datetime:
    """Milliseconds since the epoch as the time that a row holds."""
    return EPOCH + timedelta(milliseconds=at_ms)


def milliseconds(at: datetime) -> int:
    """The inverse of ``moment``; what is finer is cut off."""
    return (at - EPOCH) // timedelta(milliseconds=1)
