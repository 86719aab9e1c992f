"""All shared state of a process in one value: in memory for one process, on Redis for several."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.state.interface import (
    AddressRates,
    Attempts,
    Budgets,
    Leases,
    NonceStore,
    Penalties,
)
from realtime.state.memory import MemoryLeases, MemoryNonceStore
from security import clock, limits, throttle
from security.conf import HubSettings

if TYPE_CHECKING:  # the client library is an extra that a hub of one process does without
    from realtime.state.link import Link, Threads

__all__ = ["SharedState", "in_memory", "on_redis", "shared_state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """What the composition root hands out.

    ``nonces`` is for messages on sockets, ``request_nonces`` for signed HTTP requests, in threads.
    """

    nonces: NonceStore
    request_nonces: NonceStore
    penalties: Penalties
    budgets: Budgets
    attempts: Attempts
    handshakes: AddressRates
    leases: Leases
    link: "Link | None" = None
    threads: "Threads | None" = None

    @property
    def degraded(self) -> bool:
        """True while this process decides without the others."""
        return self.link is not None and self.link.health.degraded

    @property
    def reason(self) -> str:
        """Why it does; empty while it need not."""
        return self.link.health.reason if self.link is not None else ""

    def start(self) -> None:
        """Begin to speak with the others, on the running loop."""
        if self.link is not None:
            self.link.start()

    async def aclose(self) -> None:
        """End all connections."""
        if self.link is not None:
            await self.link.aclose()
        if self.threads is not None:
            self.threads.close()


def shared_state(redis_url: str, settings: HubSettings) -> SharedState:
    """On Redis where there is an address of one, else in memory."""
    return on_redis(redis_url, settings) if redis_url else in_memory(settings)


def in_memory(settings: HubSettings) -> SharedState:
    """For a hub that is one process."""
    nonces = MemoryNonceStore(capacity=settings.nonce_capacity)
    return SharedState(
        nonces=nonces,
        request_nonces=nonces,
        penalties=limits.Penalties(),
        budgets=limits.Budgets(settings.violation_budget),
        attempts=throttle.AttemptLimit(),
        handshakes=limits.AddressBuckets(settings.handshakes_per_s, settings.handshake_burst),
        leases=MemoryLeases(clock_ms=clock.now_ms),
    )


def on_redis(url: str, settings: HubSettings) -> SharedState:
    """For a hub of several processes; nothing is asked before ``start`` or the first question."""
    from realtime.state import redis, redisleases  # noqa: PLC0415 - an extra, see above
    from realtime.state.health import Health  # noqa: PLC0415 - as above
    from realtime.state.link import Link, Threads  # noqa: PLC0415 - as above

    health = Health()
    link, threads = Link(url, health=health), Threads(url, health=health)
    capacity = settings.nonce_capacity
    return SharedState(
        nonces=redis.RedisNonceStore(link, capacity=capacity),
        request_nonces=redis.RequestNonces(threads, link, capacity=capacity),
        penalties=redis.RedisPenalties(link),
        budgets=redis.RedisBudgets(link, settings.violation_budget),
        attempts=redis.RedisAttempts(threads),
        handshakes=redis.RedisAddressRates(
            link, "handshakes", settings.handshakes_per_s, settings.handshake_burst
        ),
        leases=redisleases.RedisLeases(link),
        link=link,
        threads=threads,
    )
