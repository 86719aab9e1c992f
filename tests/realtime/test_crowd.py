"""Presence over several processes: what each shows of the others, through kills and outages."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from realtime.crowd import DIFF_INTERVAL_S, NEWS_INTERVAL_S
from realtime.processes import LEASE_S, RENEW_S
from tests.realtime.guarded import settle
from tests.realtime.town import KEEP_S, LOBBY, House, Town

TOLD_S = NEWS_INTERVAL_S + 2 * DIFF_INTERVAL_S


@pytest.fixture
async def town(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    town = Town(monkeypatch)
    yield town
    for house in town.houses:
        await house.kill()


def shown(*users: int, state: str = "active", sockets: int = 1) -> dict[str, tuple[str, int]]:
    return {str(user): (state, sockets) for user in users}


async def test_a_newcomers_list_holds_everybody_of_all_processes(town: Town) -> None:
    one, two, three = await town.build(3)
    for user, house in enumerate((one, two, three)):
        house.enter(user)
    await town.advance(TOLD_S)
    for house in (one, two, three):
        assert house.listed() == house.told() == shown(0, 1, 2)
    one.enter(9)
    assert one.listed() == shown(0, 1, 2, 9)


async def test_who_leaves_elsewhere_is_told_here_once(town: Town) -> None:
    one, two = await town.build(2)
    one.enter(1)
    two.enter(2)
    await town.advance(TOLD_S)
    two.leave(2)
    await town.advance(TOLD_S)
    leaves = [each for _, _, diff in one.diffs for each in diff["leaves"]]
    assert [(each["user_id"], each["state"]) for each in leaves] == [("2", "disconnected")]
    assert one.listed() == shown(1)


async def test_a_person_at_two_processes_is_one_member(town: Town) -> None:
    one, two = await town.build(2)
    for house in (one, two):
        house.enter(1, "idle", socket=f"{house.id}-a")
        house.enter(1, "idle", socket=f"{house.id}-b")
    await town.advance(TOLD_S)
    assert one.told() == two.told() == shown(1, state="idle", sockets=4)
    two.enter(1, "active", socket="h1-a")
    await town.advance(TOLD_S)
    assert one.told() == two.told() == shown(1, sockets=4)
    two.leave(1, socket="h1-a")
    two.leave(1, socket="h1-b")
    await town.advance(TOLD_S)
    assert one.told() == shown(1, state="idle", sockets=2)


async def test_rooms_are_apart_and_a_room_without_own_sockets_is_told_to_nobody(
    town: Town,
) -> None:
    one, two = await town.build(2)
    one.enter(1)
    two.enter(2, room="garden")
    await town.advance(TOLD_S)
    assert {room for _, room, _ in one.diffs} == {LOBBY}
    one.enter(3, room="garden")
    assert one.listed("garden") == shown(2, 3)
    one.leave(3, room="garden")
    await town.advance(TOLD_S)
    assert set(one.crowd._halls) == {LOBBY}
    assert two.told("garden") == shown(2)


async def test_a_process_that_starts_late_knows_all_before_its_first_newcomer(town: Town) -> None:
    one, two = await town.build(2)
    one.enter(1)
    two.enter(2)
    await town.advance(TOLD_S)
    late = House(town, "late")
    town.houses.append(late)
    late.start()
    assert not late.crowd._whole.is_set()
    await settle()
    await late.crowd.whole()
    late.enter(3)
    assert late.listed() == shown(1, 2, 3)


async def test_a_process_whose_others_do_not_answer_begins_anyway(town: Town) -> None:
    await town.build(1)
    town.layer.fails = 10**9
    late = House(town, "late")
    town.houses.append(late)
    late.start()
    await town.advance(1.9)
    assert not late.crowd._whole.is_set()
    await town.advance(0.2)
    await late.crowd.whole()
    town.layer.fails = 0


async def test_a_killed_process_takes_its_people_with_it_when_its_lease_lapses(town: Town) -> None:
    one, two, three = await town.build(3)
    for user, house in enumerate((one, two, three)):
        house.enter(user)
    await town.advance(LEASE_S + 1)
    await three.kill()
    await town.advance(LEASE_S - RENEW_S - 0.1)
    assert one.told() == shown(0, 1, 2)
    await town.advance(2 * RENEW_S + TOLD_S)
    assert one.told() == two.told() == one.listed() == shown(0, 1)


async def test_a_process_that_goes_in_peace_takes_its_people_with_it_at_once(town: Town) -> None:
    one, two = await town.build(2)
    one.enter(1)
    two.enter(2)
    await town.advance(TOLD_S)
    two.leave(2)
    await two.stop()
    await town.advance(TOLD_S)
    assert one.told() == shown(1)


async def test_a_process_that_hung_comes_back_with_its_people(town: Town) -> None:
    one, two = await town.build(2)
    one.enter(1)
    two.enter(2)
    await town.advance(LEASE_S + 1)
    timers, two.timers._heap = two.timers._heap, []
    await town.advance(LEASE_S + 2 * RENEW_S)
    assert one.told() == shown(1)
    two.timers._heap = timers
    two.timers._set_alarm()
    await town.advance(LEASE_S)
    assert one.told() == two.told() == shown(1, 2)


@pytest.mark.parametrize("forgets", [False, True])
async def test_an_outage_keeps_everybody_and_what_it_swallowed_is_made_up_for(
    town: Town, *, forgets: bool
) -> None:
    one, two = await town.build(2)
    for house, user in ((one, 1), (two, 2), (two, 3)):
        house.enter(user)
    await town.advance(LEASE_S + 1)
    town.leases.down, town.layer.fails = True, 10**9
    two.leave(3)
    two.enter(4)
    one.enter(5)
    await town.advance(TOLD_S)
    assert (one.told(), two.told()) == (shown(1, 2, 3, 5), shown(1, 2, 4))
    await town.outage(LEASE_S * 3, forgets=forgets)
    assert one.told() == shown(1, 2, 3, 5)
    await town.advance(3 * RENEW_S)
    assert one.told() == two.told() == one.listed() == shown(1, 2, 4, 5)
    left = Counter(
        each["user_id"]
        for house in (one, two)
        for _, _, diff in house.diffs
        for each in diff["leaves"]
    )
    assert left == {"3": 2}


async def test_an_outage_longer_than_is_kept_hides_the_others_until_it_ends(town: Town) -> None:
    one, two = await town.build(2)
    one.enter(1)
    two.enter(2)
    await town.advance(LEASE_S + 1)
    await town.outage(KEEP_S + RENEW_S + TOLD_S)
    assert one.told() == shown(1)
    await town.advance(3 * RENEW_S)
    assert one.told() == two.told() == shown(1, 2)


async def test_leases_that_were_forgotten_at_once_make_nobody_leave(town: Town) -> None:
    one, two, three = await town.build(3)
    for user, house in enumerate((one, two, three)):
        house.enter(user)
    await town.advance(LEASE_S + 1)
    town.leases.forget_everything()
    await town.advance(3 * LEASE_S)
    for house in (one, two, three):
        assert house.told() == shown(0, 1, 2)
        assert [diff["leaves"] for _, _, diff in house.diffs if diff["leaves"]] == []


async def test_one_lost_message_is_noticed_by_the_next_look(town: Town) -> None:
    one, two = await town.build(2)
    one.enter(1)
    await town.advance(TOLD_S)
    town.layer.fails = 1
    two.enter(2)
    await town.advance(TOLD_S)
    assert one.told() == shown(1)
    await town.advance(RENEW_S + TOLD_S)
    assert one.told() == shown(1, 2)


PEOPLE = 1_000


async def test_a_thousand_who_come_at_once_cost_four_diffs_a_second_and_no_question(
    town: Town,
) -> None:
    houses = await town.build(3)
    for house in houses:
        house.enter(PEOPLE)
    await town.advance(LEASE_S)
    began, asked = town.time.now, town.leases.asked
    sent = [house.crowd._bulletin.serial for house in houses]
    for user in range(PEOPLE):
        houses[user % 3].enter(user)
        if user % 50 == 49:
            await town.advance(0.05)
    await town.advance(1.0)
    took_s = town.time.now - began
    for house, serial in zip(houses, sent, strict=True):
        assert len(house.told()) == len(house.listed()) == PEOPLE + 1
        diffs = [at for at, _, _ in house.diffs if at >= began]
        assert len(diffs) <= 4 * took_s
        assert house.crowd._bulletin.serial - serial <= took_s / NEWS_INTERVAL_S
        joins = [each for at, _, diff in house.diffs if at >= began for each in diff["joins"]]
        assert len(joins) == PEOPLE
    # Each process renews, sweeps and reads who lives, whoever comes.
    assert town.leases.asked - asked <= 3 * 3 * (took_s / RENEW_S + 1)


async def test_nothing_is_kept_of_rooms_and_processes_that_are_gone(town: Town) -> None:
    one, two = await town.build(2)
    for number in range(20):
        two.enter(1, room=f"r{number}")
        one.enter(2, room=f"r{number}")
    await town.advance(TOLD_S)
    for number in range(20):
        two.leave(1, room=f"r{number}")
        one.leave(2, room=f"r{number}")
    await town.advance(TOLD_S)
    for house in (one, two):
        crowd = house.crowd
        assert (crowd._halls, crowd._dirty, crowd._untold) == ({}, set(), {})
        assert [copy.rooms for copy in crowd._replicas._copies.values()] == [{}]
    await two.kill()
    await town.advance(2 * LEASE_S)
    assert len(one.crowd._replicas) == 0
