"""This process among those of the hub: its lease in the shared state, and the looks at the others.

The lease is renewed every RENEW_S and lapses LEASE_S after the last renewal (docs/security.md,
"Limits"): what a killed process held counts no longer than that. Every look tells who lives; while
the shared state cannot be asked, nobody knows, and this process decides alone.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from realtime.state.interface import Leases, StateUnreachable

if TYPE_CHECKING:  # the node is handed over when the process is up
    from realtime.node import Node

__all__ = ["LEASE_S", "RENEW_S", "Look", "Processes"]

LEASE_S: Final = 6.0
RENEW_S: Final = 2.0
LOOKS_OF_A_LEASE: Final = 3
TOPIC: Final = "processes"
PUT_AT_ONCE: Final = 500  # entries of one write, so that others' questions get between

Entry: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the shared state showed.

    ``living``: the processes whose leases run, or None when that cannot be known. ``certain``: it
    has been known for so long without a break that whoever lives has renewed its lease meanwhile.
    """

    living: frozenset[str] | None
    certain: bool


class Processes:
    """The lease of one process and what it holds under it; without leases it is the only one."""

    def __init__(self, leases: Leases | None = None) -> None:
        self._leases = leases
        self._listeners: list[Callable[[Look], object]] = []
        self._held: dict[Entry, None] = {}
        self._untrue = False  # an entry could not be put or removed: what is stored is not what is
        self._unbroken = 0  # looks in a row that showed who lives, with our own lease held
        self._node: Node

    def start(self, node: "Node") -> None:
        """The process is up; without others nothing happens."""
        self._node = node
        if self._leases is not None or node.bus.shared:
            self._look_soon()

    async def stop(self) -> None:
        """The process goes in peace: what it held is free at once."""
        if self._leases is not None:
            with contextlib.suppress(StateUnreachable):
                await self._leases.release(self._node.id)

    def on_look(self, listener: Callable[[Look], object]) -> None:
        """Call this after each look."""
        self._listeners.append(listener)

    # -- entries

    async def claim(self, topic: str, name: str, *, limit: int) -> bool:
        """Hold an entry as long as this process lives, if fewer than ``limit`` are there.

        True, too, when that cannot be known: then every process counts for itself.
        """
        if self._leases is None:
            return True
        try:
            granted = await self._leases.put(topic, name, self._node.id, limit=limit)
        except StateUnreachable:
            granted, self._untrue = True, True
        except asyncio.CancelledError:
            self._untrue = True  # whether it is stored is not known
            raise
        if granted:
            self._held[topic, name] = None
        return granted

    def free(self, topic: str, name: str) -> None:
        """Hold an entry no longer; harmless where it was not held."""
        if (topic, name) in self._held:
            del self._held[topic, name]
            self._node.background(self._remove(topic, name))

    async def _remove(self, topic: str, name: str) -> None:
        if self._leases is None:
            return
        try:
            await self._leases.remove(topic, name, self._node.id)
        except StateUnreachable:
            self._untrue = True

    # -- looks

    def _look_soon(self) -> None:
        self._node.background(self._look())

    async def _look(self) -> None:
        try:
            living = None if self._leases is None else await self._ask(self._leases)
        except StateUnreachable:
            living, self._unbroken = None, 0
        finally:
            self._node.timers.after(RENEW_S, self._look_soon)
        look = Look(living, certain=self._unbroken > LOOKS_OF_A_LEASE)
        for listener in self._listeners:
            listener(look)

    async def _ask(self, leases: Leases) -> frozenset[str]:
        """Renew the lease, put again what was forgotten, and ask who lives."""
        name = self._node.id
        if self._untrue:
            await leases.release(name)
        if not await leases.renew(name, ttl_ms=int(LEASE_S * 1000)):
            self._unbroken = 0  # it was forgotten; the others may have to renew theirs again, too
            await self._put_all(leases)
        await leases.sweep()
        self._unbroken += 1
        return frozenset(each.name for each in await leases.entries(TOPIC)) - {name}

    async def _put_all(self, leases: Leases) -> None:
        self._untrue = False
        try:
            await leases.put(TOPIC, self._node.id, self._node.id)
            for some in _batches(self._held):
                held = [entry for entry in some if entry in self._held]
                await asyncio.gather(*(leases.put(*entry, self._node.id) for entry in held))
        except StateUnreachable:
            self._untrue = True
            raise


def _batches(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    rest = iter(list(entries))
    while some := list(islice(rest, PUT_AT_ONCE)):
        yield some
