"""The contract of every nonce store, run by each backend in STORES."""

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from realtime.state import scripts
from realtime.state.health import Health
from realtime.state.interface import NonceStore, StoreFull
from realtime.state.link import Link, Threads
from realtime.state.memory import MemoryNonceStore
from realtime.state.redis import RedisNonceStore, RequestNonces

NOW = 1_760_000_000_000
LIFE = 35_000

MakeStore = Callable[[int], NonceStore]


@pytest.fixture
def make_memory() -> MakeStore:
    return lambda capacity: MemoryNonceStore(capacity=capacity)


@pytest.fixture
async def make_redis(redis_url: str) -> AsyncIterator[MakeStore]:
    link = Link(redis_url, health=Health())
    yield lambda capacity: RedisNonceStore(link, capacity=capacity)
    assert not link.health.degraded
    await link.aclose()


@pytest.fixture
async def make_for_requests(redis_url: str) -> AsyncIterator[MakeStore]:
    link, threads = Link(redis_url, health=Health()), Threads(redis_url, health=Health())
    learn_now(redis_url)
    yield lambda capacity: RequestNonces(threads, link, capacity=capacity)
    threads.close()
    await link.aclose()


STORES = ["memory", "redis", "for_requests"]


@pytest.fixture(params=STORES)
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    made: MakeStore = request.getfixturevalue(f"make_{request.param}")
    return made


def learn_now(redis_url: str) -> None:
    """Let the Redis believe that it has had its memory for a minute."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        run = client.info("server")["run_id"]
        client.set(scripts.MEMORY, f"{run}:{int(time.time() * 1000) - 60_000}")


@pytest.fixture
def store(make_store: MakeStore) -> NonceStore:
    return make_store(10_000)


async def consume(
    store: NonceStore,
    nonce: str,
    *,
    scope: str = "user",
    principal: str = "user:1",
    now: int = NOW,
    expires: int = NOW + LIFE,
) -> bool:
    answer = store.consume(scope, principal, nonce, expires_at_ms=expires, now_ms=now)
    return await answer if inspect.isawaitable(answer) else answer


# -- the contract


async def test_a_nonce_is_fresh_exactly_once(store: NonceStore) -> None:
    assert await consume(store, "a" * 22) is True
    assert await consume(store, "a" * 22) is False
    assert await consume(store, "b" * 22) is True


async def test_scopes_and_principals_do_not_share_nonces(store: NonceStore) -> None:
    for scope, principal in [
        ("user", "user:1"),
        ("user", "user:2"),
        ("engine", "user:1"),
        ("engine", "engine:a"),
        ("agent", "agent:a"),
    ]:
        assert await consume(store, "n" * 22, scope=scope, principal=principal) is True


async def test_no_other_split_of_the_same_characters_is_a_replay(store: NonceStore) -> None:
    assert await consume(store, "2x" + "n" * 22, principal="user:1") is True
    assert await consume(store, "x" + "n" * 22, principal="user:12") is True
    assert await consume(store, "n" * 22, principal="user:12x") is True


async def test_a_nonce_is_remembered_until_it_expires(store: NonceStore) -> None:
    await consume(store, "a" * 22)
    assert await consume(store, "a" * 22, now=NOW + LIFE - 1) is False


async def test_a_nonce_whose_time_is_over_is_never_fresh(store: NonceStore) -> None:
    assert await consume(store, "a" * 22, now=NOW + LIFE) is False
    assert await consume(store, "a" * 22, now=NOW + 10 * LIFE) is False


async def test_expired_nonces_make_room(make_store: MakeStore) -> None:
    store = make_store(3)
    for number in range(3):
        assert await consume(store, f"{number:022}") is True
    later = NOW + LIFE + 2_000
    assert await consume(store, "3" * 22, now=later, expires=later + LIFE) is True


async def test_a_full_store_refuses_and_forgets_nothing(make_store: MakeStore) -> None:
    store = make_store(3)
    for number in range(3):
        await consume(store, f"{number:022}")
    with pytest.raises(StoreFull):
        await consume(store, "x" * 22)
    for number in range(3):
        assert await consume(store, f"{number:022}") is False


async def test_of_sixty_four_racing_tasks_one_wins(store: NonceStore) -> None:
    answers = await asyncio.gather(*(consume(store, "r" * 22) for _ in range(64)))
    assert sorted(answers) == [False] * 63 + [True]


def test_a_full_store_is_told_as_an_overflow_to_floors_that_do_not_know_it() -> None:
    with pytest.raises(OverflowError, match="the nonce store holds 3 entries"):
        raise StoreFull("nonce", 3)


# -- in memory alone


def test_of_sixty_four_racing_threads_one_wins() -> None:
    store = MemoryNonceStore(capacity=100_000)
    barrier = threading.Barrier(64)

    def race() -> list[bool]:
        barrier.wait()
        return [
            store.consume("user", "user:1", f"{n:022}", expires_at_ms=NOW + LIFE, now_ms=NOW)
            for n in range(200)
        ]

    with ThreadPoolExecutor(64) as threads:
        answers = [each.result() for each in [threads.submit(race) for _ in range(64)]]
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 200


def test_a_backward_clock_does_not_reopen_what_was_forgotten() -> None:
    store = MemoryNonceStore(capacity=10)
    assert store.consume("user", "user:1", "a" * 22, expires_at_ms=NOW + LIFE, now_ms=NOW)
    store.consume("user", "user:1", "b" * 22, expires_at_ms=NOW + 9 * LIFE, now_ms=NOW + 3 * LIFE)
    assert len(store) == 1
    assert not store.consume("user", "user:1", "a" * 22, expires_at_ms=NOW + LIFE, now_ms=NOW)


def test_a_store_in_steady_use_holds_only_what_lives() -> None:
    store = MemoryNonceStore(capacity=1_000_000)
    for number in range(20_000):
        now = NOW + number * 10
        store.consume("user", "user:1", f"{number:022}", expires_at_ms=now + LIFE, now_ms=now)
    assert len(store) <= (LIFE + 2_000) / 10
    assert len(store._buckets) == len(store._order) <= LIFE / 1_000 + 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user", "engine", "agent"]),
            st.text("u1:|\x00", max_size=3),
            st.text("u1:|\x00", max_size=3),
            st.integers(-5_000, 40_000),
        ),
        max_size=60,
    )
)
def test_the_store_agrees_with_a_list_of_everything_ever_used(
    uses: list[tuple[str, str, str, int]],
) -> None:
    store, used = MemoryNonceStore(capacity=1_000), set()
    for scope, principal, nonce, offset in uses:
        now = NOW + max(0, offset)
        fresh = store.consume(scope, principal, nonce, expires_at_ms=now + LIFE, now_ms=NOW)
        assert fresh is ((scope, principal, nonce) not in used)
        used.add((scope, principal, nonce))
