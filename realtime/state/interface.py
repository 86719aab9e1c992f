"""What the hub asks of its shared state. Every backend runs the same contract tests.

A store in memory answers at once; one that asks elsewhere may answer with an awaitable instead. A
store whose other processes cannot be reached decides with what this process knows, where that is
safe, and says that it cannot where it is not (``realtime.state.errors``).
"""

from collections.abc import Awaitable, Hashable
from dataclasses import dataclass
from typing import Protocol

from realtime.state.errors import StateUnreachable, StoreFull
from security.throttle import Attempts

__all__ = [
    "AddressRates",
    "Attempts",
    "Budgets",
    "Entry",
    "Leases",
    "NonceStore",
    "Penalties",
    "StateUnreachable",
    "StoreFull",
]


class NonceStore(Protocol):
    """Remembers each nonce until it expires, so that no message is accepted twice."""

    def consume(
        self,
        scope: str,
        principal: str,
        nonce: str,
        *,
        expires_at_ms: int,
        now_ms: int,
    ) -> bool | Awaitable[bool]:
        """Use up a nonce, atomically. True: it was fresh. False: it was used before.

        ``scope`` is ``user``, ``engine`` or ``agent``: their nonces never meet.

        ``expires_at_ms`` is absolute: the message's ``ts`` + drift + grace. A nonce whose time is
        over is never fresh, also when ``now_ms`` has gone back since: whether it was used is
        forgotten then. Of any number of racers exactly one gets True. Raises StoreFull or
        StateUnreachable, and then the message has to be refused.
        """


class Penalties(Protocol):
    """Who has to stay away, until when. ``security.limits.Penalties`` is the one in memory."""

    def punish(self, key: Hashable, *, until: float) -> None:
        """Keep ``key`` out until then, on the monotonic clock; a longer penalty stays."""

    def is_penalised(self, key: Hashable, now: float) -> int | Awaitable[int]:
        """0: it may come in. Otherwise the milliseconds until it may."""


class AddressRates(Protocol):
    """A token bucket per address. ``security.limits.AddressBuckets`` is the one in memory."""

    def take(self, ip: str | None, now: float) -> int | Awaitable[int]:
        """0: admitted. Otherwise the milliseconds until this address may come again."""


class Budgets(Protocol):
    """Points of each login or engine session. ``security.limits.Budgets`` is the one in memory."""

    def charge(self, key: str, points: int, now: float) -> bool | Awaitable[bool]:
        """Charge some; True where the budget of the last 60 s is spent, by these or before."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """Something that a process holds under a topic for as long as it lives: a person's socket."""

    topic: str
    name: str
    owner: str
    value: str


class Leases(Protocol):
    """Entries that end with the process that made them.

    A process (the ``owner``) renews its lease every so often; entries of an owner whose lease has
    lapsed do not count, and a sweep removes them. The sockets of a person are entries of that
    person, the processes are entries of the hub, and a session's owner is the one entry of that
    session. The store's clock alone decides what has lapsed.

    Names hold no line breaks. All raise StateUnreachable, and then nothing is known.
    """

    async def renew(self, owner: str, *, ttl_ms: int) -> bool:
        """Hold the lease for so long from now.

        False: it was not held just before, so entries may have been swept: put all of them again.
        """

    async def put(
        self, topic: str, name: str, owner: str, value: str = "", *, limit: int | None = None
    ) -> bool:
        """Set an entry; the owner's own one of that name is replaced.

        False, and nothing changed: another living owner holds the name, or ``limit`` other living
        entries are there already.
        """

    async def remove(self, topic: str, name: str, owner: str) -> None:
        """Take an entry away; harmless when it is not there or another owner's."""

    async def entries(self, topic: str) -> list[Entry]:
        """What living owners hold under a topic, by name."""

    async def release(self, owner: str) -> None:
        """End a lease, and with it all its entries, without a trace: the owner goes in peace."""

    async def sweep(self) -> list[Entry]:
        """Remove what lapsed owners left. Each entry is given to exactly one of all who sweep."""
