"""A process's lease: renewed, lost and won again, with all that it holds."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.processes import LEASE_S, PUT_AT_ONCE, RENEW_S, Look, Processes
from realtime.state.interface import StateUnreachable
from realtime.state.memory import MemoryLeases
from tests.realtime.guarded import settle
from tests.realtime.town import House, Town

PLACES = "sockets:user:1"


@pytest.fixture
async def town(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    town = Town(monkeypatch)
    yield town
    for house in town.houses:
        await house.kill()


def looks(house: House) -> list[Look]:
    seen: list[Look] = []
    house.processes.on_look(seen.append)
    return seen


async def names(town: Town, topic: str = PLACES) -> list[str]:
    return [each.name for each in await MemoryLeases.entries(town.leases, topic)]


async def test_each_sees_the_others_live_and_one_that_is_killed_no_more(town: Town) -> None:
    one, two, three = await town.build(3)
    seen = looks(one)
    await town.advance(RENEW_S)
    assert seen[-1].living == {two.id, three.id}
    await three.kill()
    await town.advance(LEASE_S)
    assert seen[-1] == Look(living=frozenset({two.id}), certain=True)


async def test_what_is_known_is_certain_after_a_lease_without_a_break(town: Town) -> None:
    [one] = await town.build(1)
    town.leases.forget_everything()
    seen = looks(one)
    await town.advance(4.5 * RENEW_S)
    assert [look.certain for look in seen] == [False, False, False, True]


async def test_while_nobody_can_be_asked_nobody_is_known(town: Town) -> None:
    [one] = await town.build(1)
    await town.advance(2 * LEASE_S)
    seen = looks(one)
    await town.outage(RENEW_S)
    assert seen == [Look(living=None, certain=False)]
    await town.advance(4.5 * RENEW_S)
    assert [look.certain for look in seen[1:]] == [False, False, False, True]


async def test_places_are_limited_over_all_processes(town: Town) -> None:
    one, two = await town.build(2)
    assert await one.processes.claim(PLACES, "a", limit=2)
    assert await two.processes.claim(PLACES, "b", limit=2)
    assert not await one.processes.claim(PLACES, "c", limit=2)
    two.processes.free(PLACES, "b")
    await settle()
    assert await one.processes.claim(PLACES, "c", limit=2)


async def test_a_refused_place_is_not_held(town: Town) -> None:
    one, two = await town.build(2)
    await one.processes.claim(PLACES, "a", limit=1)
    await two.processes.claim(PLACES, "b", limit=1)
    two.processes.free(PLACES, "b")
    town.leases.forget_everything()
    await town.advance(RENEW_S)
    assert await names(town) == ["a"]


async def test_places_of_a_killed_process_do_not_count_when_its_lease_lapses(town: Town) -> None:
    one, two = await town.build(2)
    await two.processes.claim(PLACES, "b", limit=1)
    await two.kill()
    assert not await one.processes.claim(PLACES, "a", limit=1)
    await town.advance(LEASE_S)
    assert await one.processes.claim(PLACES, "a", limit=1)


async def test_what_a_killed_process_left_is_swept(town: Town) -> None:
    _, two = await town.build(2)
    await two.processes.claim(PLACES, "b", limit=1)
    await two.kill()
    await town.advance(3 * LEASE_S)
    assert town.leases._topics.keys() == {"processes"}


async def test_who_goes_in_peace_leaves_nothing(town: Town) -> None:
    _, two = await town.build(2)
    await two.processes.claim(PLACES, "b", limit=1)
    await two.stop()
    assert await names(town) == []
    assert len(await names(town, "processes")) == 1


async def test_what_the_store_forgot_is_put_again(town: Town) -> None:
    [one] = await town.build(1)
    held = [f"s{number:04d}" for number in range(PUT_AT_ONCE + 2)]
    for name in held:
        await one.processes.claim(PLACES, name, limit=10_000)
    town.leases.forget_everything()
    await town.advance(RENEW_S)
    assert await names(town) == held


async def test_during_an_outage_each_counts_for_itself_and_all_is_told_afterwards(
    town: Town,
) -> None:
    [one] = await town.build(1)
    for name in ("before", "leaves"):
        await one.processes.claim(PLACES, name, limit=2)
    town.leases.down = True
    assert await one.processes.claim(PLACES, "during", limit=2)
    one.processes.free(PLACES, "leaves")
    await settle()
    town.leases.down = False
    await town.advance(RENEW_S)
    assert await names(town) == ["before", "during"]


async def test_an_outage_while_all_is_put_again_is_made_up_for_later(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await town.build(1)
    await one.processes.claim(PLACES, "a", limit=2)
    town.leases.forget_everything()
    leases = town.leases
    put = leases.put
    answers = iter([StateUnreachable("down")])

    async def put_later(*entry: str, limit: int | None = None) -> bool:
        for failure in answers:
            raise failure
        return await put(*entry, limit=limit)

    monkeypatch.setattr(leases, "put", put_later)
    await town.advance(RENEW_S)
    assert await names(town) == []
    await town.advance(RENEW_S)
    assert await names(town) == ["a"]


async def test_who_is_cancelled_while_asking_leaves_no_place_behind(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await town.build(1)
    put = town.leases.put

    async def put_slowly(*entry: str, limit: int | None = None) -> bool:
        stored = await put(*entry, limit=limit)
        await asyncio.sleep(3600)
        return stored

    monkeypatch.setattr(town.leases, "put", put_slowly)
    asking = asyncio.create_task(one.processes.claim(PLACES, "a", limit=2))
    await settle()
    asking.cancel()
    monkeypatch.setattr(town.leases, "put", put)
    assert await names(town) == ["a"]
    await town.advance(RENEW_S)
    assert await names(town) == []


async def test_processes_that_share_only_a_layer_know_nothing_of_leases(town: Town) -> None:
    [one] = await town.build(1)
    seen: list[Look] = []
    without = Processes(None)
    without.on_look(seen.append)
    node: Any = one
    without.start(node)
    await town.advance(2.5 * RENEW_S)
    assert seen == [Look(living=None, certain=False)] * 3


async def test_processes_that_share_only_leases_hold_them(town: Town) -> None:
    house: Any = House(town, "alone")
    house.bus.shared = False
    house.processes.start(house)
    await settle()
    assert await names(town, "processes") == ["alone"]
    await house.kill()


async def test_the_only_process_of_a_hub_asks_nobody() -> None:
    alone = Processes(None)
    node: Any = SimpleNamespace(bus=SimpleNamespace(shared=False))
    alone.start(node)
    assert await alone.claim(PLACES, "a", limit=0)
    alone.free(PLACES, "a")
    await alone.stop()
