"""Shared state of a hub of several processes: each store asks this process first, then Redis.

What this process knows is enough to refuse. Redis adds what the others know, and while it is down,
paused, full or empty this process goes on with its own knowledge, except where that could let a
replay pass: a socket's key lives in one process, the key of an HTTP request does not.
"""

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from realtime.state import scripts
from realtime.state.health import ALONE, Health
from realtime.state.interface import StateUnreachable
from realtime.state.link import KEY_PREFIX, Link, Reply, Threads
from realtime.state.memory import MemoryNonceStore
from security.detail import network_of
from security.limits import BUDGET_WINDOW_S, KEPT, AddressBuckets, Budgets, Penalties
from security.throttle import Attempt, AttemptLimit

__all__ = [
    "RedisAddressRates",
    "RedisAttempts",
    "RedisBudgets",
    "RedisNonceStore",
    "RedisPenalties",
    "RequestNonces",
    "SharedAttempt",
]

BATCH: Final = 1_000  # nonces of one command: 4 ms of Redis, which others wait for
# Longer than a pulse and its timeout: until then every living process has told a Redis that lost
# its memory what it remembers.
RELEARN_MS: Final = 3_000

T = TypeVar("T")


class RedisNonceStore:
    """Nonces of messages on sockets; belongs to the loop's thread.

    One ``SET NX PX`` for each nonce, all of a loop turn in one command. Without an answer this
    process's own record decides: the key of a message lives in one socket, so no other process
    could accept it (docs/security.md).
    """

    def __init__(self, link: Link, *, capacity: int) -> None:
        self._own = MemoryNonceStore(capacity=capacity)
        self._link = link
        self._batch: list[tuple[str, int, asyncio.Future[bool]]] = []

    @property
    def degraded(self) -> bool:
        """True while this process decides alone."""
        return self._link.health.degraded

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> "bool | asyncio.Future[bool]":
        """As ``NonceStore.consume``; waits for Redis no longer than the link's timeout."""
        if not self._own.consume(
            scope, principal, nonce, expires_at_ms=expires_at_ms, now_ms=now_ms
        ):
            return False
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        if not self._batch:
            loop.call_soon(self._send)
        self._batch.append((nonce_key(scope, principal, nonce), expires_at_ms - now_ms, future))
        return future

    def _send(self) -> None:
        batch, self._batch = self._batch, []
        for start in range(0, len(batch), BATCH):
            self._send_one(batch[start : start + BATCH])

    def _send_one(self, batch: list[tuple[str, int, "asyncio.Future[bool]"]]) -> None:
        keys, lives, futures = zip(*batch, strict=True)
        asked = self._link.evaluate(scripts.USE_NONCES, keys, *lives)
        if asked is None:
            _decide(futures, None)
        else:
            asked.add_done_callback(lambda done: _decide(futures, done.result()))


def _decide(futures: tuple["asyncio.Future[bool]", ...], reply: Reply) -> None:
    answers = reply if isinstance(reply, list) else [1] * len(futures)
    if answers is not reply:
        ALONE.labels("nonces").inc(len(futures))
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():  # a waiter may have been cancelled
            future.set_result(answer == 1)


def nonce_key(scope: str, principal: str, nonce: str) -> str:
    """A nonce's name in Redis; no two triples share one."""
    return f"{KEY_PREFIX}n:{scope}{len(principal)}:{principal}{nonce}"


class RequestNonces:
    """Nonces of signed HTTP requests, for threads: any process could accept the same request.

    So without Redis each of them is refused, to be signed anew and sent again. A Redis that lost
    its memory is told at the next pulse what this process has used, and is not believed before.
    """

    def __init__(
        self, threads: Threads, link: Link, *, capacity: int, relearn_ms: int = RELEARN_MS
    ) -> None:
        self._relearn_ms = relearn_ms
        self._own = MemoryNonceStore(capacity=capacity)
        self._threads = threads
        self._link = link
        self._used: deque[tuple[float, str]] = deque()  # when it may be forgotten, and its key
        self._memory = b""
        link.on_pulse(self._look_at_memory)

    @property
    def degraded(self) -> bool:
        """True while requests are refused."""
        return self._link.health.degraded

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> bool:
        """As ``NonceStore.consume``, at once. Raises StateUnreachable too, and then it is burned
        here."""
        if not self._own.consume(
            scope, principal, nonce, expires_at_ms=expires_at_ms, now_ms=now_ms
        ):
            return False
        life_ms, key = expires_at_ms - now_ms, nonce_key(scope, principal, nonce)
        self._remember(key, life_ms)
        answer = self._threads.evaluate(
            scripts.USE_REQUEST_NONCE, [scripts.MEMORY, key], life_ms, self._relearn_ms
        )
        if answer < 0:
            raise StateUnreachable("it has lost its memory and learns again what was used")
        return bool(answer)

    def _remember(self, key: str, life_ms: int) -> None:
        now = time.monotonic()
        while self._used and self._used[0][0] <= now:
            self._used.popleft()
        self._used.append((now + life_ms / 1000, key))

    def _look_at_memory(self) -> None:
        asked = self._link.evaluate(scripts.SEE_MEMORY, [scripts.MEMORY])
        if asked is not None:
            asked.add_done_callback(lambda done: self._saw_memory(done.result()))

    def _saw_memory(self, memory: Reply) -> None:
        if not isinstance(memory, bytes) or memory == self._memory:
            return
        self._memory = memory
        now = time.monotonic()
        live = [(key, int((until - now) * 1000)) for until, key in list(self._used) if until > now]
        for start in range(0, len(live), BATCH):
            keys, lives = zip(*live[start : start + BATCH], strict=True)
            self._link.evaluate(scripts.USE_NONCES, keys, *lives)


class RedisPenalties:
    """As ``security.limits.Penalties``, and what any process punished counts for all."""

    def __init__(
        self, link: Link, *, capacity: int = KEPT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._own = Penalties(capacity=capacity)
        self._link = link
        self._clock = clock

    def punish(self, key: Hashable, *, until: float) -> None:
        """As ``Penalties.punish``; the others are told without waiting."""
        self._own.punish(key, until=until)
        name, life_ms = _penalty_key(key), int((until - self._clock()) * 1000)
        if life_ms > 0:
            self._link.evaluate(scripts.PUNISH, [name], life_ms)

    def is_penalised(self, key: Hashable, now: float) -> "int | asyncio.Future[int]":
        """As ``Penalties.is_penalised``; an awaitable where only the others can know."""
        own = self._own.is_penalised(key, now)
        if own:
            return own
        return _told(self._link.submit("PTTL", _penalty_key(key)), "penalties", _wait_ms)


def _penalty_key(key: Hashable) -> str:
    return f"{KEY_PREFIX}p:{key}"


class RedisBudgets:
    """As ``security.limits.Budgets``, and what is charged at any process counts for all.

    The shared window slides by Redis's clock.
    """

    def __init__(self, link: Link, points: int, *, window_s: float = BUDGET_WINDOW_S) -> None:
        self._own = Budgets(points, window_s=window_s)
        self._link = link
        self._points = points
        self._window_ms = int(window_s * 1000)
        self._process = secrets.token_urlsafe(6)
        self._numbers = itertools.count()

    def charge(self, key: str, points: int, now: float) -> "bool | asyncio.Future[bool]":
        """As ``Budgets.charge``; an awaitable where this process alone knows of nothing."""
        if self._own.charge(key, points, now):
            return True
        name = f"{self._process}{next(self._numbers)}"
        asked = self._link.evaluate(
            scripts.CHARGE, [f"{KEY_PREFIX}b:{key}"], self._window_ms, self._points, points, name
        )
        return _told(asked, "budgets", bool)


class RedisAddressRates:
    """As ``security.limits.AddressBuckets``, with one bucket per address over all processes.

    The shared bucket fills by Redis's clock, since monotonic clocks of two machines say nothing
    about each other; ``now`` is for this process's own.
    """

    def __init__(self, link: Link, name: str, rate: float, burst: float) -> None:
        self._own = AddressBuckets(rate, burst)
        self._link = link
        self._prefix = f"{KEY_PREFIX}r:{name}:"
        self._rate, self._burst = rate, burst

    def take(self, ip: str | None, now: float) -> "int | asyncio.Future[int]":
        """As ``AddressBuckets.take``; an awaitable where this process alone would admit."""
        own = self._own.take(ip, now)
        if own:
            return own
        key = self._prefix + network_of(ip)
        asked = self._link.evaluate(scripts.TAKE, [key], self._rate, self._burst, 1)
        return _told(asked, "rates", _wait_ms)


def _wait_ms(told: int) -> int:
    return max(0, told)


def _told(
    asked: "asyncio.Future[Reply] | None", store: str, read: Callable[[int], T]
) -> "T | asyncio.Future[T]":
    """What the others know, read from Redis's number; as from 0 where it does not answer."""
    if asked is None:
        ALONE.labels(store).inc()
        return read(0)
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    asked.add_done_callback(partial(_pass_on, answer, store, read))
    return answer


def _pass_on(
    answer: "asyncio.Future[T]",
    store: str,
    read: Callable[[int], T],
    asked: "asyncio.Future[Reply]",
) -> None:
    reply = asked.result()
    if isinstance(reply, Exception):
        ALONE.labels(store).inc()
    if not answer.done():
        answer.set_result(read(reply if isinstance(reply, int) else 0))


@dataclass(frozen=True, slots=True)
class SharedAttempt(Attempt):
    """An attempt that is counted in Redis as well, under this name."""

    name: str


class RedisAttempts:
    """As ``security.throttle.AttemptLimit``, over all processes; for threads.

    The shared window slides by Redis's clock. An attempt that could not be forgiven because Redis
    was away counts until its window is over.
    """

    def __init__(self, threads: Threads, *, window_s: float = 60.0) -> None:
        self._own = AttemptLimit(window_s=window_s)
        self._threads = threads

    @property
    def health(self) -> Health:
        """Whether the others are heard."""
        return self._threads.health

    def admit(self, limits: Mapping[str, int], now: float) -> Attempt | int:
        """As ``AttemptLimit.admit``."""
        own = self._own.admit(limits, now)
        if isinstance(own, int):
            return own
        name = secrets.token_urlsafe(12)
        try:
            wait = self._ask(limits, name)
        except StateUnreachable:
            ALONE.labels("attempts").inc()
            return own
        if wait:
            self._own.forgive(own)
            return wait
        return SharedAttempt(own.at, own.keys, name)

    def forgive(self, attempt: Attempt) -> None:
        """As ``AttemptLimit.forgive``."""
        self._own.forgive(attempt)
        if not isinstance(attempt, SharedAttempt):
            return
        try:
            self._threads.evaluate(scripts.FORGIVE, _attempt_keys(attempt.keys), attempt.name)
        except StateUnreachable:
            ALONE.labels("attempts").inc()

    def clear(self) -> None:
        """Forget what this process has counted; the others' counts end with their windows."""
        self._own.clear()

    def _ask(self, limits: Mapping[str, int], name: str) -> int:
        window_ms = int(self._own.window_s * 1000)
        keys = _attempt_keys(limits)
        wait: int = self._threads.evaluate(scripts.ATTEMPT, keys, window_ms, name, *limits.values())
        return wait


def _attempt_keys(names: "Mapping[str, int] | tuple[str, ...]") -> list[str]:
    return [f"{KEY_PREFIX}a:{name}" for name in names]
