"""Shared state of a hub that is one process: plain memory behind the same interface."""

import heapq
import threading
from collections.abc import Callable
from typing import Final

from realtime.state.interface import Entry, StoreFull

__all__ = ["MemoryLeases", "MemoryNonceStore"]

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


class MemoryLeases:
    """As ``Leases``, for one event loop. ``clock_ms`` decides what has lapsed."""

    def __init__(self, *, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._until: dict[str, int] = {}
        self._topics: dict[str, dict[str, Entry]] = {}

    async def renew(self, owner: str, *, ttl_ms: int) -> bool:
        """As ``Leases.renew``."""
        held = self._lives(owner)
        self._until[owner] = self._clock_ms() + ttl_ms
        return held

    async def put(
        self, topic: str, name: str, owner: str, value: str = "", *, limit: int | None = None
    ) -> bool:
        """As ``Leases.put``."""
        others = [each for each in self._living(topic) if (each.name, each.owner) != (name, owner)]
        if any(each.name == name for each in others):
            return False
        if limit is not None and len(others) >= limit:
            return False
        self._topics.setdefault(topic, {})[name] = Entry(topic, name, owner, value)
        return True

    async def remove(self, topic: str, name: str, owner: str) -> None:
        """As ``Leases.remove``."""
        entry = self._topics.get(topic, {}).get(name)
        if entry is not None and entry.owner == owner:
            self._take(entry)

    async def entries(self, topic: str) -> list[Entry]:
        """As ``Leases.entries``."""
        return sorted(self._living(topic), key=lambda each: each.name)

    async def release(self, owner: str) -> None:
        """As ``Leases.release``."""
        self._until.pop(owner, None)
        for entry in self._all():
            if entry.owner == owner:
                self._take(entry)

    async def sweep(self) -> list[Entry]:
        """As ``Leases.sweep``."""
        lapsed = [entry for entry in self._all() if not self._lives(entry.owner)]
        for entry in lapsed:
            self._take(entry)
        for owner in [each for each in self._until if not self._lives(each)]:
            del self._until[owner]
        return lapsed

    def _lives(self, owner: str) -> bool:
        return self._until.get(owner, 0) > self._clock_ms()

    def _living(self, topic: str) -> list[Entry]:
        return [each for each in self._topics.get(topic, {}).values() if self._lives(each.owner)]

    def _all(self) -> list[Entry]:
        return [entry for topic in self._topics.values() for entry in topic.values()]

    def _take(self, entry: Entry) -> None:
        topic = self._topics[entry.topic]
        del topic[entry.name]
        if not topic:
            del self._topics[entry.topic]
