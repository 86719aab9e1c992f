"""How often somebody may fail to prove who they are: a sliding minute, bounded in memory.

An attempt counts while it is under way, so that a hundred at once are no better than a hundred in
a row, and is forgiven when it succeeds. One process counts for itself, unless whoever composes it
installs a store that processes share. Time is an argument, on the monotonic clock.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from threading import Lock
from typing import Final, Protocol

from security.addresses import address_group
from security.conf import hub
from security.refusals import Refused

__all__ = ["Attempt", "AttemptLimit", "Attempts", "attempts", "limited", "use_attempts"]

WINDOW_S: Final = 60.0
CAPACITY: Final = 20_000  # keys; about 10 MB at the worst


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was let through, to be forgiven if it succeeds."""

    at: float
    keys: tuple[str, ...]


class Attempts(Protocol):
    """Counts failures by key, for threads. ``AttemptLimit`` is the one in memory."""

    def admit(self, limits: Mapping[str, int], now: float) -> Attempt | int:
        """Count an attempt under each key, or return the wait in ms and count nothing."""

    def forgive(self, attempt: Attempt) -> None:
        """Take a successful attempt out of the count."""

    def clear(self) -> None:
        """Forget everything."""


@dataclass(slots=True)
class AttemptLimit:
    """Counts attempts by key. Full means that the key that was quiet longest is forgotten."""

    window_s: float = WINDOW_S
    capacity: int = CAPACITY
    _times: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def admit(self, limits: Mapping[str, int], now: float) -> Attempt | int:
        """Count an attempt under each key, or return the wait in ms and count nothing.

        ``limits`` gives for each key how many unforgiven attempts a window holds.
        """
        with self._lock:
            wait = max(self._wait(key, limit, now) for key, limit in limits.items())
            if wait > 0:
                return ceil(wait * 1000)
            for key in limits:
                self._times.setdefault(key, deque()).append(now)
                self._times.move_to_end(key)
            while len(self._times) > self.capacity:
                self._times.popitem(last=False)
        return Attempt(now, tuple(limits))

    def forgive(self, attempt: Attempt) -> None:
        """Take a successful attempt out of the count."""
        with self._lock:
            for key in attempt.keys:
                times = self._times.get(key)
                if times is not None and attempt.at in times:
                    times.remove(attempt.at)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._times.clear()

    def _wait(self, key: str, limit: int, now: float) -> float:
        """Seconds until the key may try again; at most zero if it may now."""
        times = self._times.get(key)
        if times is None:
            return 0.0 if limit > 0 else self.window_s
        while times and times[0] <= now - self.window_s:
            times.popleft()
        if len(times) < limit:
            return 0.0
        return times[-limit] + self.window_s - now if limit else self.window_s


class _Slot:
    """One per process."""

    attempts: Attempts = AttemptLimit()


_slot: Final = _Slot()


def attempts() -> Attempts:
    """The count that logins, refreshes and service tokens share."""
    return _slot.attempts


def use_attempts(store: Attempts) -> None:
    """Install the store of this process."""
    _slot.attempts = store


@contextmanager
def limited(name: str, ip: str, *, now: float) -> Iterator[None]:
    """Run one attempt: it counts unless the block ends without an exception.

    ``name`` is empty where an attempt names nobody, such as a refresh; ``now`` is on the monotonic
    clock. Raises Refused (``rate_limited``) where there were too many in the last minute.
    """
    group = address_group(ip)
    limits = {f"|{group}": hub().login_failures_per_ip}
    if name:
        limits[f"{name}|{group}"] = hub().login_failures
    store = attempts()
    admitted = store.admit(limits, now)
    if isinstance(admitted, int):
        raise Refused("rate_limited", reason="login_failures", retry_after_ms=admitted)
    yield
    store.forgive(admitted)
