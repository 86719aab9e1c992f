"""Whether the shared state can be asked, as all stores of a process see it.

After a failure nobody asks for RETRY_S, so that a server that hangs costs one bounded wait and not
one for each message; then one asks again, and what it hears counts for all.
"""

import logging
import threading
import time
from typing import Final

from prometheus_client import Counter, Gauge

__all__ = ["ALONE", "Health"]

RETRY_S: Final = 1.0

DEGRADED = Gauge("hub_shared_state_degraded", "1 while this process decides without the others.")
ALONE = Counter(
    "hub_shared_state_alone", "Decisions of this process without the others.", ["store"]
)
_log = logging.getLogger(__name__)


class Health:
    """Usable from any thread."""

    def __init__(self) -> None:
        self.reason = ""
        self._retry_at = 0.0
        self._lock = threading.Lock()
        DEGRADED.set(0)

    @property
    def degraded(self) -> bool:
        """True while the others cannot be asked."""
        return bool(self.reason)

    def failed(self, error: object) -> None:
        """Asking went wrong: no answer, or one that refuses to serve."""
        reason = f"{type(error).__name__}: {error}"[:200]
        with self._lock:
            first, self.reason = not self.reason, reason
            self._retry_at = time.monotonic() + RETRY_S
        if first:
            DEGRADED.set(1)
            _log.warning("the shared state cannot be asked: %s", reason)

    def works(self) -> None:
        """Somebody got an answer."""
        if not self.reason:
            return
        with self._lock:
            self.reason = ""
        DEGRADED.set(0)
        _log.warning("the shared state can be asked again")

    def may_ask(self) -> bool:
        """Whether to ask now; while degraded, True for one caller in RETRY_S."""
        if not self.reason:
            return True
        with self._lock:
            if time.monotonic() < self._retry_at:
                return False
            self._retry_at = time.monotonic() + RETRY_S
            return True
