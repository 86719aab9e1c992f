"""Rates, budgets and penalties: how much is admitted, and when to come back.

No clock here: ``now`` is an argument, in seconds of a monotonic clock. The numbers are settings
(``security.conf``); who is counted is the caller's business. A refusal says after how many
milliseconds trying again can succeed; 0 means admitted.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable
from math import ceil
from typing import Final

from security.detail import network_of

__all__ = [
    "BUDGET_WINDOW_S",
    "AddressBuckets",
    "Buckets",
    "Budget",
    "Budgets",
    "Penalties",
    "TokenBucket",
]

BUDGET_WINDOW_S: Final = 60.0
LONGEST_RETRY_MS: Final = 3_600_000  # the longest answer, also that of a rate of zero
KEPT: Final = 10_000  # addresses, budgets or penalties of a process


class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` saved up; begins full. For one thread."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, *, now: float = 0.0) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, n: float = 1) -> int:
        """Take ``n`` tokens: 0, or the milliseconds until they are there (then none is taken)."""
        tokens = self._tokens + (now - self._at) * self._rate
        if tokens > self._burst:  # noqa: PLR1730 - min() costs a call, and this runs per message
            tokens = self._burst
        self._at = now
        if tokens >= n:
            self._tokens = tokens - n
            return 0
        self._tokens = tokens
        return self._wait_ms(n - tokens)

    def owe(self, now: float, n: float) -> None:
        """Take ``n`` tokens, also those that are not there: what was done cannot be refused."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - n
        self._at = now

    def is_full(self, now: float) -> bool:
        """Whether it is as good as new, so that nothing is lost with it."""
        return self._tokens + (now - self._at) * self._rate >= self._burst

    def _wait_ms(self, missing: float) -> int:
        if missing * 1_000 >= LONGEST_RETRY_MS * self._rate:
            return LONGEST_RETRY_MS
        return ceil(missing / self._rate * 1_000)


class Budget:
    """Points that may be charged within any ``window_s``. For one thread.

    Spent means more than ``points``: a budget of 10 bears ten points and is spent by the eleventh.
    """

    __slots__ = ("_charged", "_points", "_sum", "_window_s")

    def __init__(self, points: int, *, window_s: float = BUDGET_WINDOW_S) -> None:
        self._points = points
        self._window_s = window_s
        self._charged: deque[tuple[float, int]] = deque()
        self._sum = 0

    def charge(self, points: int, now: float) -> bool:
        """Charge points (0 is free). True: the budget is spent; its holder has to go."""
        while self._charged and self._charged[0][0] <= now - self._window_s:
            self._sum -= self._charged.popleft()[1]
        # Nothing more is kept once it is spent, so the deque is never longer than the budget.
        if points > 0 and self._sum <= self._points:
            self._charged.append((now, points))
            self._sum += points
        return self._sum > self._points


class Budgets:
    """One budget for each login or engine session; the least recently charged is forgotten first.

    At most ``capacity`` of them. For one thread.
    """

    def __init__(
        self, points: int, *, capacity: int = KEPT, window_s: float = BUDGET_WINDOW_S
    ) -> None:
        self._points, self._capacity, self._window_s = points, capacity, window_s
        self._budgets: OrderedDict[str, Budget] = OrderedDict()

    def charge(self, key: str, points: int, now: float) -> bool:
        """As ``Budget.charge``, for one of them."""
        budget = self._budgets.get(key)
        if budget is None:
            budget = self._budgets[key] = Budget(self._points, window_s=self._window_s)
            if len(self._budgets) > self._capacity:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(key)
        return budget.charge(points, now)

    def __len__(self) -> int:
        return len(self._budgets)


class Penalties:
    """Who has to stay away, until when. At most ``capacity`` of them; usable from any thread.

    When it is full, the one that was punished longest ago is let off: it has the least to go.
    """

    def __init__(self, *, capacity: int = KEPT) -> None:
        self._capacity = capacity
        self._until: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()

    def punish(self, key: Hashable, *, until: float) -> None:
        """Keep ``key`` out until then; an earlier, longer penalty stays."""
        with self._lock:
            self._until[key] = max(until, self._until.get(key, until))
            self._until.move_to_end(key)
            if len(self._until) > self._capacity:
                self._until.popitem(last=False)

    def is_penalised(self, key: Hashable, now: float) -> int:
        """0: it may come in. Otherwise the milliseconds until it may."""
        with self._lock:
            until = self._until.get(key)
            if until is None:
                return 0
            if until <= now:
                del self._until[key]
                return 0
        return ceil((until - now) * 1_000)

    def __len__(self) -> int:
        return len(self._until)


class Buckets:
    """One token bucket per key, at most ``capacity``; for any thread.

    A bucket that is full again is forgotten, which loses nothing. Keys that come while all buckets
    are in use share one, so a flood of them costs neither memory nor the others.
    """

    def __init__(self, rate: float, burst: float, *, capacity: int = KEPT) -> None:
        self._rate, self._burst, self._capacity = rate, burst, capacity
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()  # least recently used first
        self._shared = TokenBucket(rate, burst)
        self._lock = threading.Lock()

    def take(self, key: str, now: float) -> int:
        """0: admitted. Otherwise the milliseconds until this key may come again."""
        with self._lock:
            self._forget_full(now)
            return self._bucket(key, now).take(now)

    def owe(self, key: str, n: float, now: float) -> None:
        """Charge a key for what was done already."""
        with self._lock:
            self._bucket(key, now).owe(now, n)

    def __len__(self) -> int:
        return len(self._buckets)

    def _bucket(self, key: str, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets.move_to_end(key)
            return bucket
        if len(self._buckets) >= self._capacity:
            return self._shared
        bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now=now)
        return bucket

    def _forget_full(self, now: float) -> None:
        # Two at a time: more than one call can add, so the work per call is bounded.
        for _ in range(2):
            key = next(iter(self._buckets), None)
            if key is None or not self._buckets[key].is_full(now):
                return
            del self._buckets[key]


class AddressBuckets(Buckets):
    """One token bucket per address: of v4, or a /64 of v6. A missing address is one as well."""

    def take(self, ip: str | None, now: float) -> int:
        """0: admitted. Otherwise the milliseconds until this address may come again."""
        return super().take(network_of(ip), now)
