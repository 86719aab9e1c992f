"""Leases on Redis: the expiry of one key per process decides, by Redis's clock."""

from typing import Final

from realtime.state import scripts
from realtime.state.interface import Entry
from realtime.state.link import KEY_PREFIX, Link

__all__ = ["RedisLeases"]

LEASES: Final = f"{KEY_PREFIX}l:"
TOPICS: Final = f"{KEY_PREFIX}t:"
HELD: Final = f"{KEY_PREFIX}h:"
OWNERS: Final = f"{KEY_PREFIX}owners"
SWEPT_AT_ONCE: Final = 500  # entries of one step: 2 ms of Redis, which others wait for
NO_LIMIT: Final = -1


class RedisLeases:
    """As ``Leases``; belongs to the loop's thread."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def renew(self, owner: str, *, ttl_ms: int) -> bool:
        """As ``Leases.renew``."""
        asked = self._link.evaluate(scripts.RENEW, [LEASES + owner], ttl_ms)
        return bool(await self._link.answer(asked))

    async def put(
        self, topic: str, name: str, owner: str, value: str = "", *, limit: int | None = None
    ) -> bool:
        """As ``Leases.put``."""
        keys = [TOPICS + topic, HELD + owner, OWNERS]
        most = NO_LIMIT if limit is None else limit
        asked = self._link.evaluate(scripts.PUT, keys, name, owner, value, LEASES, most, topic)
        return bool(await self._link.answer(asked))

    async def remove(self, topic: str, name: str, owner: str) -> None:
        """As ``Leases.remove``."""
        keys = [TOPICS + topic, HELD + owner]
        await self._link.answer(self._link.evaluate(scripts.REMOVE, keys, name, owner, topic))

    async def entries(self, topic: str) -> list[Entry]:
        """As ``Leases.entries``."""
        kept = await self._link.answer(self._link.submit("HGETALL", TOPICS + topic))
        found = sorted(_entry(topic, *pair) for pair in _pairs(kept))
        living = await self._living({each.owner for each in found})
        return [each for each in found if each.owner in living]

    async def release(self, owner: str) -> None:
        """As ``Leases.release``."""
        await self._link.answer(self._link.submit("DEL", LEASES + owner))
        await self._sweep(owner)

    async def sweep(self) -> list[Entry]:
        """As ``Leases.sweep``."""
        owners = {
            each.decode() for each in await self._link.answer(self._link.submit("SMEMBERS", OWNERS))
        }
        lapsed = owners - await self._living(owners)
        return [entry for owner in sorted(lapsed) for entry in await self._sweep(owner)]

    async def _sweep(self, owner: str) -> list[Entry]:
        keys = [HELD + owner, OWNERS, LEASES + owner]
        lost: list[Entry] = []
        more = 1
        while more:
            asked = self._link.evaluate(scripts.SWEEP, keys, owner, TOPICS, SWEPT_AT_ONCE)
            more, *fields = await self._link.answer(asked)
            texts = [each.decode() for each in fields]
            triples = zip(texts[::3], texts[1::3], texts[2::3], strict=True)
            lost += [Entry(topic, name, owner, value) for topic, name, value in triples]
        return lost

    async def _living(self, owners: set[str]) -> set[str]:
        if not owners:
            return set()
        order = sorted(owners)
        leases = await self._link.answer(self._link.submit("MGET", *map(LEASES.__add__, order)))
        return {owner for owner, lease in zip(order, leases, strict=True) if lease is not None}


def _pairs(kept: dict[bytes, bytes] | list[bytes]) -> list[tuple[bytes, bytes]]:
    """A hash as RESP 3 tells it, or as RESP 2 does: one after the other."""
    if isinstance(kept, dict):
        return list(kept.items())
    return list(zip(kept[::2], kept[1::2], strict=True))


def _entry(topic: str, name: bytes, kept: bytes) -> Entry:
    owner, _, value = kept.decode().partition("\n")
    return Entry(topic, name.decode(), owner, value)
