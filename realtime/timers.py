"""One timer per process: a heap of deadlines and a single wake-up of the loop for the earliest.

Thousands of sockets with several deadlines each would otherwise be as many timer handles of the
event loop. Times are seconds on the loop's monotonic clock.
"""

import heapq
import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from itertools import count

__all__ = ["Timer", "Timers"]

log = logging.getLogger(__name__)

# Cancelled entries stay in the heap until they surface, or until it is twice as large as what lived
# at the last sweep, and at least this large: so sweeping costs nothing per timer on average.
LITTER = 1_000


class Timer:
    """A deadline that can be called off."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Call it off; harmless when it has fired already."""
        self.callback = None


class Timers:
    """Deadlines of one process."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = count()
        self._alarm: TimerHandle | None = None
        self._sweep_at = LITTER
        self._stopped = False

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call back at ``when`` (loop time), once; never, after ``stop``."""
        timer = Timer(when, callback)
        if self._stopped:
            return timer
        heapq.heappush(self._heap, (when, next(self._serial), timer))
        if self._heap[0][2] is timer:
            self._set_alarm()
        return timer

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back so many seconds from now, once."""
        return self.at(self._loop.time() + seconds, callback)

    def stop(self) -> None:
        """Forget every deadline, and those that are still asked for: the process ends."""
        self._stopped = True
        self._heap.clear()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._heap[0][0], self._ring) if self._heap else None

    def _ring(self) -> None:
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            self._fire(heapq.heappop(self._heap)[2])
        self._sweep()
        self._set_alarm()

    def _fire(self, timer: Timer) -> None:
        callback, timer.callback = timer.callback, None
        if callback is None:
            return
        try:
            callback()
        except Exception:
            # One socket's broken deadline must not take the deadlines of all others with it.
            log.exception("a timer's callback failed")

    def _sweep(self) -> None:
        if len(self._heap) < self._sweep_at:
            return
        self._heap = [entry for entry in self._heap if entry[2].callback is not None]
        heapq.heapify(self._heap)
        self._sweep_at = max(LITTER, 2 * len(self._heap))
