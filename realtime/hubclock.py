"""The hub's time as a service far from it knows it, for the timestamps of signed messages."""

import time
from collections.abc import Callable

__all__ = ["HubClock"]


class HubClock:
    """The hub's time, in milliseconds since the epoch, as far as this process can know it.

    It runs on the monotonic clock from the last time that the hub told, so that nobody who sets the
    wall clock of this machine can make messages stale. Until then the wall clock is the best guess.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._offset_ms = (wall() - monotonic()) * 1000
        self.known = False

    def now_ms(self) -> int:
        """Return the hub's time."""
        return round(self._monotonic() * 1000 + self._offset_ms)

    def follow(self, server_time: object) -> None:
        """Take the hub's word for the time; anything but a whole number is no word."""
        if type(server_time) is int:
            self._offset_ms = server_time - self._monotonic() * 1000
            self.known = True
