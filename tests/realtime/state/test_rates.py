"""The contract of rates, budgets, penalties and attempts: in memory as over all processes.

Redis keeps its own clock, so nothing here pushes one: what has to pass is a few milliseconds, and
what must not pass is an hour.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from inspect import isawaitable
from typing import Any

import pytest

from realtime.state.health import Health
from realtime.state.interface import AddressRates, Attempts, Budgets, Penalties
from realtime.state.link import Link, Threads
from realtime.state.redis import (
    RedisAddressRates,
    RedisAttempts,
    RedisBudgets,
    RedisPenalties,
)
from security import limits
from security.throttle import Attempt, AttemptLimit
from tests.waiting import soon

HOURLY = 1 / 3_600

Make = Callable[..., Any]


@pytest.fixture(params=["memory", "redis"])
async def makers(request: pytest.FixtureRequest) -> AsyncIterator[Mapping[str, Make]]:
    if request.param == "memory":
        yield {
            "rates": limits.AddressBuckets,
            "budgets": limits.Budgets,
            "penalties": limits.Penalties,
            "attempts": lambda window_s: AttemptLimit(window_s=window_s),
        }
        return
    url, health = request.getfixturevalue("redis_url"), Health()
    link, threads = Link(url, health=health), Threads(url, health=health)
    yield {
        "rates": lambda rate, burst: RedisAddressRates(link, "handshakes", rate, burst),
        "budgets": lambda points, **window: RedisBudgets(link, points, **window),
        "penalties": lambda: RedisPenalties(link),
        "attempts": lambda window_s: RedisAttempts(threads, window_s=window_s),
    }
    assert not health.degraded
    threads.close()
    await link.aclose()


async def take(rates: AddressRates, ip: str | None) -> int:
    answer = rates.take(ip, time.monotonic())
    return await answer if isawaitable(answer) else answer


async def charge(budgets: Budgets, key: str, points: int = 1) -> bool:
    answer = budgets.charge(key, points, time.monotonic())
    return await answer if isawaitable(answer) else answer


async def wait_of(penalties: Penalties, key: str) -> int:
    answer = penalties.is_penalised(key, time.monotonic())
    return await answer if isawaitable(answer) else answer


async def try_once(attempts: Attempts, **of: int) -> Attempt | int:
    return await asyncio.to_thread(attempts.admit, of, time.monotonic())


# -- rates


async def test_a_burst_is_admitted_and_no_more(makers: Mapping[str, Make]) -> None:
    rates = makers["rates"](HOURLY, 5)
    given = [await take(rates, "192.0.2.1") for _ in range(8)]
    assert given[:5] == [0] * 5
    assert all(3_500_000 < wait <= 3_600_000 for wait in given[5:])


async def test_of_racers_only_a_burst_is_admitted(makers: Mapping[str, Make]) -> None:
    rates = makers["rates"](HOURLY, 5)
    given = await asyncio.gather(*(take(rates, "192.0.2.1") for _ in range(50)))
    assert given.count(0) == 5


async def test_addresses_do_not_spend_each_others(makers: Mapping[str, Make]) -> None:
    rates = makers["rates"](HOURLY, 1)
    assert [await take(rates, ip) for ip in ("192.0.2.1", "192.0.2.2", None)] == [0, 0, 0]
    assert await take(rates, "192.0.2.1")


async def test_one_customers_v6_network_is_one_address(makers: Mapping[str, Make]) -> None:
    rates = makers["rates"](HOURLY, 1)
    assert await take(rates, "2001:db8::1") == 0
    assert await take(rates, "2001:db8::2")
    assert await take(rates, "2001:db8:0:1::1") == 0


async def test_a_bucket_fills_again_in_the_time_that_was_told(makers: Mapping[str, Make]) -> None:
    rates = makers["rates"](20.0, 1)
    assert await take(rates, "192.0.2.1") == 0
    begun = time.monotonic()
    wait_ms = await take(rates, "192.0.2.1")
    assert 0 < wait_ms <= 50

    async def admitted() -> bool:
        return await take(rates, "192.0.2.1") == 0

    await soon(admitted)
    assert time.monotonic() - begun >= wait_ms / 1_000 - 0.005


async def test_a_rate_of_zero_admits_the_burst_alone(makers: Mapping[str, Make]) -> None:
    rates = makers["rates"](0.0, 1)
    assert await take(rates, "192.0.2.1") == 0
    assert await take(rates, "192.0.2.1") == limits.LONGEST_RETRY_MS


# -- budgets


async def test_a_budget_bears_its_points_and_is_spent_by_the_next(
    makers: Mapping[str, Make],
) -> None:
    budgets = makers["budgets"](10)
    assert [await charge(budgets, "s_1", 3) for _ in range(5)] == [False] * 3 + [True] * 2
    assert await charge(budgets, "s_2", 10) is False
    assert await charge(budgets, "s_2") is True


async def test_of_racing_charges_no_more_are_borne_than_there_are_points(
    makers: Mapping[str, Make],
) -> None:
    budgets = makers["budgets"](10)
    spent = await asyncio.gather(*(charge(budgets, "s_1") for _ in range(40)))
    assert spent.count(False) == 10


async def test_points_are_given_back_after_the_window(makers: Mapping[str, Make]) -> None:
    budgets = makers["budgets"](1, window_s=0.05)
    assert [await charge(budgets, "s_1") for _ in range(2)] == [False, True]

    async def borne() -> bool:
        return not await charge(budgets, "s_1")

    await soon(borne)


# -- penalties


async def test_who_is_penalised_is_told_how_long(makers: Mapping[str, Make]) -> None:
    penalties = makers["penalties"]()
    penalties.punish("s_1", until=time.monotonic() + 60)
    assert 50_000 < await wait_of(penalties, "s_1") <= 60_000
    assert await wait_of(penalties, "s_2") == 0


async def test_the_longer_of_two_penalties_stays(makers: Mapping[str, Make]) -> None:
    penalties = makers["penalties"]()
    for seconds in (60, 600, 6):
        penalties.punish("s_1", until=time.monotonic() + seconds)
    assert 500_000 < await wait_of(penalties, "s_1") <= 600_000


async def test_a_penalty_ends(makers: Mapping[str, Make]) -> None:
    penalties = makers["penalties"]()
    penalties.punish("s_1", until=time.monotonic() + 0.05)

    async def over() -> bool:
        return await wait_of(penalties, "s_1") == 0

    await soon(over)


async def test_a_penalty_that_is_over_already_is_none(makers: Mapping[str, Make]) -> None:
    penalties = makers["penalties"]()
    penalties.punish("s_1", until=time.monotonic() - 1)
    assert await wait_of(penalties, "s_1") == 0


# -- attempts


async def test_attempts_are_admitted_up_to_the_limit_of_each_key(
    makers: Mapping[str, Make],
) -> None:
    attempts = makers["attempts"](3_600.0)
    for _ in range(2):
        assert isinstance(await try_once(attempts, ada=2, everyone=3), Attempt)
    wait = await try_once(attempts, ada=2, everyone=3)
    assert isinstance(wait, int)
    assert 3_500_000 < wait <= 3_600_000
    assert isinstance(await try_once(attempts, grace=2, everyone=3), Attempt)
    assert isinstance(await try_once(attempts, grace=2, everyone=3), int)


async def test_a_refused_attempt_counts_for_nothing(makers: Mapping[str, Make]) -> None:
    attempts = makers["attempts"](3_600.0)
    await try_once(attempts, ada=1)
    for _ in range(3):
        assert isinstance(await try_once(attempts, ada=1, everyone=1), int)
    assert isinstance(await try_once(attempts, grace=1, everyone=1), Attempt)


async def test_of_racing_attempts_no_more_than_the_limit_is_admitted(
    makers: Mapping[str, Make],
) -> None:
    attempts = makers["attempts"](3_600.0)
    answers = await asyncio.gather(*(try_once(attempts, ada=3) for _ in range(20)))
    assert sum(isinstance(each, Attempt) for each in answers) == 3


async def test_a_forgiven_attempt_makes_room_for_one(makers: Mapping[str, Make]) -> None:
    attempts = makers["attempts"](3_600.0)
    admitted = [await try_once(attempts, ada=2, everyone=9) for _ in range(2)]
    await asyncio.to_thread(attempts.forgive, admitted[0])
    assert isinstance(await try_once(attempts, ada=2, everyone=9), Attempt)
    assert isinstance(await try_once(attempts, ada=2, everyone=9), int)


async def test_attempts_are_forgotten_after_the_window(makers: Mapping[str, Make]) -> None:
    attempts = makers["attempts"](0.05)
    await try_once(attempts, ada=1)

    async def admitted() -> bool:
        return isinstance(await try_once(attempts, ada=1), Attempt)

    await soon(admitted)


async def test_a_limit_of_zero_admits_nobody(makers: Mapping[str, Make]) -> None:
    wait = await try_once(makers["attempts"](60.0), ada=0)
    assert wait == 60_000
