"""The contract of all leases, and of the sessions' owners upon them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from realtime.state.health import Health
from realtime.state.interface import Entry, Leases, StateUnreachable
from realtime.state.link import Link
from realtime.state.memory import MemoryLeases
from realtime.state.owners import SessionOwners
from realtime.state.redisleases import LEASES, RedisLeases
from tests.services import RedisServer

TTL_MS = 6_000


@dataclass
class Store:
    """Leases, a way to let an owner's lapse, and how much is kept in all."""

    leases: Leases
    lapse: Callable[[str], None]
    size: Callable[[], int]

    async def begin(self, *owners: str) -> None:
        for owner in owners:
            await self.leases.renew(owner, ttl_ms=TTL_MS)


@pytest.fixture
def memory_store() -> Store:
    leases = MemoryLeases(clock_ms=lambda: 1_000_000)

    def lapse(owner: str) -> None:
        leases._until[owner] = 0

    return Store(leases, lapse, lambda: len(leases._topics) + len(leases._until))


@pytest.fixture
async def redis_store(redis_server: RedisServer) -> AsyncIterator[Store]:
    link = Link(redis_server.url, health=Health())

    def lapse(owner: str) -> None:
        redis_server.call("DEL", LEASES + owner)

    yield Store(RedisLeases(link), lapse, lambda: len(redis_server.call("KEYS", "hub:[a-oq-z]*")))
    assert not link.health.degraded
    await link.aclose()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    made: Store = request.getfixturevalue(f"{request.param}_store")
    return made


# -- leases


async def test_a_renewal_says_whether_the_lease_was_held_until_now(store: Store) -> None:
    assert await store.leases.renew("a", ttl_ms=TTL_MS) is False
    assert await store.leases.renew("a", ttl_ms=TTL_MS) is True
    store.lapse("a")
    assert await store.leases.renew("a", ttl_ms=TTL_MS) is False


async def test_entries_of_living_owners_are_listed_by_name(store: Store) -> None:
    await store.begin("a", "b")
    assert await store.leases.put("room:x", "s2", "a", "two\nlines")
    assert await store.leases.put("room:x", "s1", "b")
    assert await store.leases.put("room:y", "s3", "a")
    assert await store.leases.entries("room:x") == [
        Entry("room:x", "s1", "b", ""),
        Entry("room:x", "s2", "a", "two\nlines"),
    ]


async def test_entries_of_a_lapsed_owner_do_not_count(store: Store) -> None:
    await store.begin("a", "b")
    await store.leases.put("room:x", "s1", "a")
    await store.leases.put("room:x", "s2", "b")
    store.lapse("a")
    assert [each.name for each in await store.leases.entries("room:x")] == ["s2"]


async def test_an_owner_without_a_lease_holds_nothing(store: Store) -> None:
    await store.leases.put("room:x", "s1", "nobody")
    assert await store.leases.entries("room:x") == []
    assert await store.leases.sweep() == [Entry("room:x", "s1", "nobody", "")]


async def test_an_owner_replaces_its_own_entry(store: Store) -> None:
    await store.begin("a")
    await store.leases.put("room:x", "s1", "a", "active")
    assert await store.leases.put("room:x", "s1", "a", "idle")
    assert [each.value for each in await store.leases.entries("room:x")] == ["idle"]


async def test_a_name_that_a_living_owner_holds_is_not_given_away(store: Store) -> None:
    await store.begin("a", "b")
    await store.leases.put("room:x", "s1", "a", "mine")
    assert await store.leases.put("room:x", "s1", "b", "stolen") is False
    await store.leases.remove("room:x", "s1", "b")
    assert await store.leases.entries("room:x") == [Entry("room:x", "s1", "a", "mine")]
    store.lapse("a")
    assert await store.leases.put("room:x", "s1", "b", "inherited") is True
    assert await store.leases.sweep() == []
    assert await store.leases.entries("room:x") == [Entry("room:x", "s1", "b", "inherited")]


async def test_a_limit_counts_the_other_living_entries(store: Store) -> None:
    await store.begin("a", "b")
    for number in range(8):
        owner = "ab"[number % 2]
        assert await store.leases.put("user:1", f"s{number}", owner, limit=8)
    assert await store.leases.put("user:1", "s8", "a", limit=8) is False
    assert await store.leases.put("user:1", "s0", "a", "again", limit=8)
    store.lapse("b")
    assert await store.leases.put("user:1", "s8", "a", limit=8)
    assert len(await store.leases.entries("user:1")) == 5


async def test_of_racers_for_the_last_place_one_gets_it(store: Store) -> None:
    await store.begin("a")
    asked = [store.leases.put("user:1", f"s{number}", "a", limit=1) for number in range(20)]
    assert sorted(await asyncio.gather(*asked)) == [False] * 19 + [True]


async def test_a_sweep_removes_what_lapsed_owners_left_and_tells_it_once(store: Store) -> None:
    await store.begin("a", "b", "c")
    for number in range(1_200):
        await store.leases.put(f"room:{number % 3}", f"s{number}", "a", str(number))
    await store.leases.put("room:0", "kept", "b")
    assert await store.leases.sweep() == []
    store.lapse("a")
    store.lapse("c")
    swept = await asyncio.gather(*(store.leases.sweep() for _ in range(4)))
    lost = [entry for each in swept for entry in each]
    assert sorted(lost) == sorted(
        Entry(f"room:{number % 3}", f"s{number}", "a", str(number)) for number in range(1_200)
    )
    assert [each.name for each in await store.leases.entries("room:0")] == ["kept"]


async def test_an_owner_that_comes_back_before_the_sweep_keeps_its_entries(store: Store) -> None:
    await store.begin("a")
    await store.leases.put("room:x", "s1", "a")
    store.lapse("a")
    assert await store.leases.renew("a", ttl_ms=TTL_MS) is False
    assert await store.leases.sweep() == []
    assert len(await store.leases.entries("room:x")) == 1


async def test_an_owner_that_goes_in_peace_leaves_nothing_to_sweep(store: Store) -> None:
    await store.begin("a", "b")
    for number in range(600):
        await store.leases.put("room:x", f"s{number}", "a")
    await store.leases.put("room:x", "kept", "b")
    await store.leases.release("a")
    assert [each.name for each in await store.leases.entries("room:x")] == ["kept"]
    assert await store.leases.sweep() == []


async def test_nothing_is_left_of_what_came_and_went(store: Store) -> None:
    for number in range(50):
        await store.begin("a")
        await store.leases.put(f"room:{number}", f"s{number}", "a")
        await store.leases.remove(f"room:{number}", f"s{number}", "a")
        await store.leases.put(f"room:{number}", f"t{number}", "a")
        await (store.leases.release("a") if number % 2 else store.leases.sweep())
    await store.leases.release("a")
    assert store.size() == 0


async def test_redis_lets_a_lease_lapse_by_its_own_clock(
    redis_store: Store, redis_server: RedisServer
) -> None:
    await redis_store.begin("a")
    assert TTL_MS - 5_000 < redis_server.call("PTTL", f"{LEASES}a") <= TTL_MS


async def test_without_redis_nobody_knows(redis_server: RedisServer) -> None:
    link = Link(redis_server.url, health=Health())
    leases = RedisLeases(link)
    await leases.renew("a", ttl_ms=TTL_MS)
    redis_server.kill()
    for ask in (leases.renew("a", ttl_ms=TTL_MS), leases.entries("x"), leases.put("x", "s", "a")):
        with pytest.raises(StateUnreachable):
            await ask
    await link.aclose()


# -- owners of sessions


async def test_a_session_is_held_by_one_process_until_it_is_over(store: Store) -> None:
    await store.begin("a", "b")
    mine, theirs = SessionOwners(store.leases, "a"), SessionOwners(store.leases, "b")
    assert await mine.claim("sid")
    assert await theirs.claim("sid") is False
    assert await theirs.owner_of("sid") == "a"
    await theirs.release("sid")
    assert await theirs.owner_of("sid") == "a"
    await mine.release("sid")
    assert await theirs.owner_of("sid") is None


async def test_a_session_of_a_dead_process_is_nobodys(store: Store) -> None:
    await store.begin("a", "b")
    await SessionOwners(store.leases, "a").claim("sid")
    store.lapse("a")
    theirs = SessionOwners(store.leases, "b")
    assert await theirs.owner_of("sid") is None
    assert await theirs.claim("sid")
    assert await theirs.owner_of("sid") == "b"
