"""What the stores on Redis do together, and what they do when Redis fails them."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import TypeVar

import pytest
from prometheus_client import REGISTRY

from realtime.state import health as health_module
from realtime.state.health import Health
from realtime.state.interface import StateUnreachable
from realtime.state.link import Link, Threads
from realtime.state.redis import (
    RedisAddressRates,
    RedisAttempts,
    RedisBudgets,
    RedisNonceStore,
    RedisPenalties,
    RequestNonces,
)
from security.throttle import Attempt
from tests.services import RedisServer
from tests.waiting import soon

T = TypeVar("T")
NOW = 1_760_000_000_000
LIFE = 35_000
BOUND_S = 1.5  # of a machine that is busy; the link itself waits half a second

TROUBLES: dict[str, Callable[[RedisServer], None]] = {
    "down": RedisServer.kill,
    "paused": RedisServer.pause,
    "restarted": RedisServer.restart,
    "flushed": RedisServer.flush,
    "full": RedisServer.fill,
}
LASTING = ["down", "full", "paused"]


@dataclass
class Process:
    """What one process of the hub has of the shared state."""

    link: Link
    threads: Threads
    nonces: RedisNonceStore
    requests: RequestNonces

    async def use(self, nonce: str) -> bool:
        answer = self.nonces.consume("user", "user:1", nonce, expires_at_ms=NOW + LIFE, now_ms=NOW)
        return await answer if isawaitable(answer) else answer

    async def request(self, nonce: str) -> bool:
        return await asyncio.to_thread(
            lambda: self.requests.consume(
                "engine", "engine:a", nonce, expires_at_ms=NOW + LIFE, now_ms=NOW
            )
        )


MakeProcess = Callable[[], Process]


@pytest.fixture
async def make_process(redis_server: RedisServer) -> AsyncIterator[MakeProcess]:
    made: list[Process] = []

    def make() -> Process:
        health = Health()
        link = Link(redis_server.url, health=health, pulse_s=0.05)
        threads = Threads(redis_server.url, health=health)
        nonces = RedisNonceStore(link, capacity=10_000)
        requests = RequestNonces(threads, link, capacity=10_000, relearn_ms=500)
        made.append(Process(link, threads, nonces, requests))
        link.start()
        return made[-1]

    yield make
    redis_server.resume()
    for each in made:
        each.threads.close()
        await each.link.aclose()


@pytest.fixture
async def one(make_process: MakeProcess) -> Process:
    return make_process()


@pytest.fixture
async def other(one: Process, make_process: MakeProcess) -> Process:
    return make_process()


async def accepted(process: Process, numbers: "itertools.count[int]") -> bool:
    """Whether a fresh request is taken now."""
    try:
        return await process.request(f"fresh-{next(numbers):016}")
    except StateUnreachable:
        return False


# -- nonces of messages


async def test_a_nonce_used_in_one_process_is_used_in_all(one: Process, other: Process) -> None:
    assert await one.use("a" * 22)
    assert not await other.use("a" * 22)
    assert await other.use("b" * 22)


async def test_of_racers_in_two_processes_exactly_one_wins(one: Process, other: Process) -> None:
    answers = await asyncio.gather(*(each.use("r" * 22) for each in (one, other) * 32))
    assert sorted(answers) == [False] * 63 + [True]


async def test_more_than_a_batch_in_one_turn_is_answered_one_by_one(
    one: Process, other: Process
) -> None:
    await other.use(f"{1_999:022}")
    answers = await asyncio.gather(*(one.use(f"{number:022}") for number in range(2_500)))
    assert [number for number, fresh in enumerate(answers) if not fresh] == [1_999]


async def test_redis_forgets_a_nonce_when_its_life_is_over(
    one: Process, redis_server: RedisServer
) -> None:
    await one.use("a" * 22)
    (key,) = [each for each in redis_server.call("KEYS", "*") if ":n:" in each]
    assert LIFE - 5_000 < redis_server.call("PTTL", key) <= LIFE


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_no_trouble_of_redis_lets_a_replay_pass_or_stops_the_fresh(
    one: Process, redis_server: RedisServer, trouble: str
) -> None:
    assert await one.use("before" * 4)
    TROUBLES[trouble](redis_server)
    for _ in range(3):
        assert not await one.use("before" * 4)
    assert await one.use("during" * 4)
    assert not await one.use("during" * 4)
    redis_server.resume()
    redis_server.start()
    redis_server.config_set(maxmemory=0)
    await soon(lambda: not one.nonces.degraded)
    assert not await one.use("before" * 4)
    assert not await one.use("during" * 4)
    assert await one.use("after" * 5)


@pytest.mark.parametrize("trouble", LASTING)
async def test_a_lasting_trouble_stalls_nobody_and_is_shown(
    one: Process, redis_server: RedisServer, trouble: str
) -> None:
    assert await one.use("warm" * 6)
    TROUBLES[trouble](redis_server)
    begun = time.monotonic()
    assert (
        await asyncio.gather(*(one.use(f"{number:022}") for number in range(100))) == [True] * 100
    )
    assert time.monotonic() - begun < BOUND_S
    await soon(lambda: one.nonces.degraded and one.requests.degraded)
    assert REGISTRY.get_sample_value("hub_shared_state_degraded") == 1
    begun = time.monotonic()
    assert all([await one.use(f"x{number:021}") for number in range(100)])
    assert time.monotonic() - begun < BOUND_S


async def test_trouble_is_noticed_while_nobody_asks_and_so_is_its_end(
    one: Process, redis_server: RedisServer
) -> None:
    await soon(lambda: one.link.submit("PING") is not None)
    redis_server.kill()
    await soon(lambda: one.nonces.degraded)
    redis_server.start()
    await soon(lambda: not one.nonces.degraded)
    assert REGISTRY.get_sample_value("hub_shared_state_degraded") == 0


async def test_a_waiter_who_gives_up_takes_nothing_from_the_others(one: Process) -> None:
    waiting = [asyncio.ensure_future(one.use(f"{number:022}")) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [answers[0], answers[2]] == [True, True]
    assert not await one.use(f"{1:022}")


async def test_scripts_that_redis_lost_are_loaded_again(
    one: Process, redis_server: RedisServer
) -> None:
    assert await one.use("a" * 22)
    redis_server.call("SCRIPT", "FLUSH")
    assert await one.use("b" * 22)
    await soon(lambda: not one.nonces.degraded)
    assert await one.use("c" * 22)
    assert not one.nonces.degraded


async def test_whoever_waits_when_the_link_ends_is_answered(
    one: Process, redis_server: RedisServer
) -> None:
    await one.use("a" * 22)
    redis_server.pause()
    waiting = asyncio.ensure_future(one.use("b" * 22))
    await asyncio.sleep(0)
    await one.link.aclose()
    assert await waiting


# -- nonces of requests


async def test_a_request_used_in_one_process_is_used_in_all(one: Process, other: Process) -> None:
    numbers = itertools.count()
    await soon(lambda: accepted(one, numbers))
    assert await one.request("a" * 22)
    assert not await other.request("a" * 22)


@pytest.mark.parametrize("trouble", LASTING)
async def test_without_redis_requests_are_refused_because_others_might_know_them(
    one: Process, redis_server: RedisServer, trouble: str
) -> None:
    numbers = itertools.count()
    await soon(lambda: accepted(one, numbers))
    TROUBLES[trouble](redis_server)
    begun = time.monotonic()
    with pytest.raises(StateUnreachable):
        await one.request("a" * 22)
    assert time.monotonic() - begun < BOUND_S


@pytest.mark.parametrize("trouble", ["restarted", "flushed"])
async def test_a_redis_that_lost_its_memory_accepts_no_used_request(
    one: Process, other: Process, redis_server: RedisServer, trouble: str
) -> None:
    numbers = itertools.count()
    await soon(lambda: accepted(one, numbers))
    assert await one.request("a" * 22)
    TROUBLES[trouble](redis_server)
    with pytest.raises(StateUnreachable):
        await other.request("b" * 22)
    await soon(lambda: accepted(other, numbers))
    assert not await other.request("a" * 22)


async def test_a_snapshot_of_an_earlier_run_does_not_count_as_memory(
    one: Process, redis_server: RedisServer
) -> None:
    numbers = itertools.count()
    await soon(lambda: accepted(one, numbers))
    redis_server.call("SET", "hub:memory", f"{'0' * 40}:{NOW}")
    with pytest.raises(StateUnreachable):
        await one.request("a" * 22)


# -- rates, budgets, penalties, attempts


async def waits(answer: T | Awaitable[T]) -> T:
    return await answer if isawaitable(answer) else answer


async def test_addresses_share_one_bucket_over_all_processes(one: Process, other: Process) -> None:
    rates = [RedisAddressRates(each.link, "t", 0.001, 5) for each in (one, other)]
    given = [await waits(rate.take("192.0.2.1", 0.0)) for rate in rates * 4]
    assert given[:5] == [0] * 5
    assert all(given[5:])
    assert await waits(rates[0].take("192.0.2.2", 0.0)) == 0


async def test_a_budget_is_spent_at_all_processes_together(one: Process, other: Process) -> None:
    mine, theirs = RedisBudgets(one.link, 10), RedisBudgets(other.link, 10)
    spent = [await waits(each.charge("s_1", 3, 0.0)) for each in (mine, theirs, theirs, mine)]
    assert spent == [False, False, False, True]
    assert await waits(theirs.charge("s_2", 3, 0.0)) is False


async def test_a_penalty_counts_in_every_process(one: Process, other: Process) -> None:
    mine, theirs = RedisPenalties(one.link), RedisPenalties(other.link)
    mine.punish("s_1", until=time.monotonic() + 60)
    assert 0 < await waits(mine.is_penalised("s_1", time.monotonic())) <= 60_000

    async def known() -> bool:
        return 0 < await waits(theirs.is_penalised("s_1", time.monotonic())) <= 60_000

    await soon(known)
    assert await waits(theirs.is_penalised("s_2", time.monotonic())) == 0


async def test_a_shorter_penalty_does_not_shorten_a_longer_one(
    one: Process, other: Process
) -> None:
    mine, theirs = RedisPenalties(one.link), RedisPenalties(other.link)
    for seconds in (60, 1):
        mine.punish("s_1", until=time.monotonic() + seconds)
    await mine._link.answer(one.link.submit("PING"))
    assert await waits(theirs.is_penalised("s_1", time.monotonic())) > 50_000


@pytest.mark.parametrize("trouble", LASTING)
async def test_without_redis_rates_budgets_and_penalties_of_this_process_hold(
    one: Process, redis_server: RedisServer, trouble: str
) -> None:
    await one.use("a" * 22)
    rates, penalties = RedisAddressRates(one.link, "t", 0.001, 5), RedisPenalties(one.link)
    TROUBLES[trouble](redis_server)
    await soon(lambda: one.nonces.degraded)
    given = [await waits(rates.take("192.0.2.1", 0.0)) for _ in range(6)]
    assert given[:5] == [0] * 5
    assert given[5]
    budgets = RedisBudgets(one.link, 2)
    assert [await waits(budgets.charge("s_1", 1, 0.0)) for _ in range(3)] == [False, False, True]
    penalties.punish("s_1", until=60.0)
    assert await waits(penalties.is_penalised("s_1", 0.0)) == 60_000
    assert await waits(penalties.is_penalised("s_2", 0.0)) == 0


async def test_attempts_count_over_all_processes_until_forgiven(
    one: Process, other: Process
) -> None:
    def try_all() -> None:
        mine, theirs = RedisAttempts(one.threads), RedisAttempts(other.threads)
        admitted = [each.admit({"ada": 3}, 0.0) for each in (mine, theirs, theirs)]
        assert all(isinstance(each, Attempt) for each in admitted)
        wait = mine.admit({"ada": 3}, 0.0)
        assert isinstance(wait, int)
        assert 0 < wait <= 60_000
        assert isinstance(admitted[1], Attempt)
        theirs.forgive(admitted[1])
        assert isinstance(mine.admit({"ada": 3}, 0.0), Attempt)

    await asyncio.to_thread(try_all)


async def test_without_redis_attempts_of_this_process_count(
    one: Process, redis_server: RedisServer
) -> None:
    attempts = RedisAttempts(one.threads)
    redis_server.kill()

    def try_all() -> None:
        first = attempts.admit({"ada": 1}, 0.0)
        assert isinstance(first, Attempt)
        assert attempts.admit({"ada": 1}, 0.0) == 60_000
        attempts.forgive(first)
        assert isinstance(attempts.admit({"ada": 1}, 0.0), Attempt)

    await asyncio.to_thread(try_all)


# -- health


def test_while_degraded_one_in_a_second_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(health_module.time, "monotonic", lambda: now)
    health = Health()
    assert all(health.may_ask() for _ in range(3))
    health.failed(TimeoutError("no answer"))
    assert (health.degraded, health.reason) == (True, "TimeoutError: no answer")
    assert not health.may_ask()
    now += 1.0
    assert [health.may_ask() for _ in range(3)] == [True, False, False]
    health.works()
    assert not health.degraded
