"""Shared state of a hub that is one process: plain memory behind the same interface."""

import heapq
import threading
from typing import Final

from realtime.state.interface import StoreFull

__all__ = ["MemoryNonceStore"]

BUCKET_MS: Final = 1_000


class MemoryNonceStore:
    """Live nonces of this process; usable from any thread.

    Nonces that expire within the same second are forgotten together, so cleaning costs O(1) per
    nonce, and a nonce may be remembered for up to a second longer than asked. About 200 bytes each.
    """

    def __init__(self, *, capacity: int) -> None:
        self.capacity = capacity
        self._live: set[str] = set()
        self._buckets: dict[int, list[str]] = {}
        self._order: list[int] = []  # a heap of the buckets' numbers: some sixty of them
        self._passed = 0  # buckets below this one are forgotten for good
        self._lock = threading.Lock()

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> bool:
        """As ``NonceStore.consume``, at once."""
        # With the length in front no two triples give the same text, whatever they hold; one text
        # is smaller than a tuple of three, and the garbage collector does not visit it.
        key = f"{scope}{len(principal)}:{principal}{nonce}"
        bucket = expires_at_ms // BUCKET_MS
        with self._lock:
            if now_ms // BUCKET_MS > self._passed:
                self._forget_before(now_ms // BUCKET_MS)
            if key in self._live or bucket < self._passed or expires_at_ms <= now_ms:
                return False
            if len(self._live) >= self.capacity:
                raise StoreFull("nonce", self.capacity)
            self._live.add(key)
            if (members := self._buckets.get(bucket)) is not None:
                members.append(key)
            else:
                self._buckets[bucket] = [key]
                heapq.heappush(self._order, bucket)
        return True

    def __len__(self) -> int:
        return len(self._live)

    def _forget_before(self, bucket: int) -> None:
        self._passed = bucket
        while self._order and self._order[0] < bucket:
            self._live.difference_update(self._buckets.pop(heapq.heappop(self._order)))
