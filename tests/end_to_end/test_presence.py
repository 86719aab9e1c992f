"""Presence over tabs, rooms and processes: on memory with one process, on Redis with three."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from realtime.client import HubRefused
from realtime.processes import LEASE_S, RENEW_S
from tests.end_to_end.forest import forest
from tests.services import RedisServer
from tests.sites import PATIENCE_S, Site, Tab
from tests.waiting import soon

DISCONNECT_AFTER_S = 8.0
SETTINGS = {
    "HUB_HEARTBEAT_INTERVAL_S": "0.5",
    "HUB_INACTIVE_AFTER_S": "4",
    "HUB_DISCONNECT_AFTER_S": str(DISCONNECT_AFTER_S),
    "HUB_SOCKETS_PER_USER": "4",
    "HUB_ROOMS_PER_SOCKET": "3",
}
BOUND_S = DISCONNECT_AFTER_S + 10.0  # docs/operations.md: what is promised of ghosts
PEOPLE = ("ada", "grace", "linus", "admin")


@pytest.fixture(scope="module", params=["one", "three"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    several = request.param == "three"
    environ = request.getfixturevalue("shared_environ") if several else {}
    with Site(
        tmp_path_factory.mktemp("presence"),
        count=3 if several else 1,
        people=PEOPLE,
        environ={**environ, **SETTINGS},
    ) as running:
        yield running


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_everybody_is_seen_by_everybody_at_once_and_until_they_leave(
    site: Site, stack: AsyncExitStack
) -> None:
    guests = [
        await Tab.enter(stack, site.at(number), name)
        for number, name in enumerate(("ada", "grace", "linus"))
    ]
    assert guests[1].seen().keys() >= {"grace"}
    for guest in guests:
        await guest.sees(ada=1, grace=1, linus=1)
    late = await Tab.enter(stack, site.at(0), "admin")
    assert late.seen().keys() == {"ada", "grace", "linus", "admin"}
    await guests[1].client.close()
    for guest in (guests[0], guests[2], late):
        await guest.sees(ada=1, linus=1, admin=1)


async def test_a_person_is_one_member_over_tabs_and_processes(
    site: Site, stack: AsyncExitStack
) -> None:
    watcher = await Tab.enter(stack, site.at(0), "grace")
    tabs = [await Tab.enter(stack, site.at(number), "ada") for number in range(3)]
    await watcher.sees(grace=1, ada=3)
    for tab in tabs[:2]:
        await tab.client.act("presence", {"state": "idle"})
    await asyncio.gather(*(each.sees(grace=1, ada=3) for each in (watcher, *tabs)))
    await tabs[2].client.act("presence", {"state": "idle"})
    await watcher.sees(grace=1, ada=("idle", 3))
    await tabs[2].client.close()
    await watcher.sees(grace=1, ada=("idle", 2))
    assert leaves(watcher, "ada") == []


def leaves(guest: Tab, name: str) -> list[str]:
    """The states in which a guest was told that somebody left."""
    told = [each for diff in guest.diffs for each in diff["leaves"]]
    return [each["state"] for each in told if each["username"] == name]


async def test_who_falls_silent_is_inactive_then_gone_and_closed(
    site: Site, stack: AsyncExitStack
) -> None:
    watcher = await Tab.enter(stack, site.at(0), "grace")
    silent = await Tab.enter(stack, site.at(1), "ada")
    await watcher.sees(grace=1, ada=1)
    await silent.fall_silent()
    began = time.monotonic()
    await watcher.sees(grace=1, ada=("inactive", 1))
    await watcher.sees(grace=1, within_s=BOUND_S)
    assert time.monotonic() - began < BOUND_S
    assert leaves(watcher, "ada") == ["disconnected"]
    await soon(lambda: not silent.client.socket.connected, within_s=PATIENCE_S)


async def test_presence_and_actions_stay_in_their_room(site: Site, stack: AsyncExitStack) -> None:
    ada = await Tab.enter(stack, site.at(0), "ada")
    grace = await Tab.enter(stack, site.at(1), "grace")
    linus = await Tab.enter(stack, site.at(2), "linus")
    for guest in (ada, grace):
        await guest.join("garden")
    for guest in (ada, grace):
        await guest.sees(room="garden", ada=1, grace=1)
    await ada.leave("lobby")
    for guest in (grace, linus):
        await guest.sees(grace=1, linus=1)
    await ada.client.act("speak", {"text": "in the garden"})
    await soon(lambda: len(grace.updates) == 1, within_s=PATIENCE_S)
    assert (grace.updates[0]["room"], grace.updates[0]["username"]) == ("garden", "ada")
    await grace.leave("garden")
    await ada.sees(room="garden", ada=1)
    await ada.client.act("speak", {"text": "alone"})
    await linus.client.act("speak", {"text": "in the lobby"})
    await soon(lambda: len(grace.updates) == 2, within_s=PATIENCE_S)
    assert (grace.updates[1]["room"], grace.updates[1]["username"]) == ("lobby", "linus")
    assert (linus.updates, {diff["room"] for diff in linus.diffs}) == ([], {"lobby"})


async def test_rooms_have_a_limit_and_need_a_signature(site: Site, stack: AsyncExitStack) -> None:
    ada = await Tab.enter(stack, site.at(0), "ada")
    for room in ("one", "two"):
        await ada.join(room)
    with pytest.raises(HubRefused, match="quota_exceeded"):
        await ada.client.act("room_join", {"room": "three"})
    forged = {**ada.client.sign("room_join", {"room": "one"}), "sig": "0" * 64}
    assert (await ada.client.send(forged))["error"] == "invalid_signature"


async def test_tabs_hear_each_other_and_staff_hear_of_refusals_elsewhere(
    site: Site, stack: AsyncExitStack
) -> None:
    staff = await Tab.enter(stack, site.at(0), "admin")
    one = await Tab.enter(stack, site.at(1), "ada")
    other = await Tab.enter(stack, site.at(2), "ada")
    for guest in (one, other):
        await guest.leave("lobby")
    await one.client.act("speak", {"text": "to myself"})
    await soon(lambda: len(other.updates) == 1, within_s=PATIENCE_S)
    assert (other.updates[0]["room"], staff.updates) == (None, [])
    used = one.client.sign("speak")
    for _ in range(2):
        await one.client.send(used)
    for guest in (staff, one, other):
        assert await noticed(guest, "replay_detected") == 1


async def noticed(guest: Tab, kind: str) -> int:
    """How often a refusal of that kind is told to have happened; other ones are passed over."""
    while True:
        notice = await guest.client.next("security_notice", within_s=PATIENCE_S)
        if notice["kind"] == kind:
            return int(notice["count"])


async def test_places_of_a_person_are_counted_at_all_processes(
    site: Site, stack: AsyncExitStack
) -> None:
    tabs = [await Tab.enter(stack, site.at(number), "ada") for number in range(4)]
    for number in range(3):
        with pytest.raises(HubRefused, match="TOO_MANY_CONNECTIONS"):
            await Tab.enter(stack, site.at(number), "ada")
    await Tab.enter(stack, site.at(0), "grace")
    await tabs[1].client.close()

    async def has_place() -> bool:
        try:
            await Tab.enter(stack, site.at(2), "ada")
        except HubRefused:
            return False
        return True

    await soon(has_place, within_s=PATIENCE_S)


async def test_who_goes_with_a_killed_process_is_gone_within_the_bound(
    site: Site, stack: AsyncExitStack
) -> None:
    watchers = [await Tab.enter(stack, site.at(number), "grace") for number in range(2)]
    for _ in range(2):
        await Tab.enter(stack, site.at(2), "ada")
    await asyncio.gather(*(each.sees(grace=2, ada=2) for each in watchers))
    await asyncio.to_thread(site.at(2).kill)
    killed_at = time.monotonic()
    watchers = await survivors(site, stack, watchers)
    await asyncio.gather(*(each.sees(grace=2, within_s=BOUND_S) for each in watchers))
    assert time.monotonic() - killed_at < BOUND_S
    returned = [await Tab.enter(stack, site.at(number), "ada") for number in range(4)]
    await asyncio.gather(*(each.sees(grace=2, ada=4) for each in (*watchers, *returned)))


async def test_who_goes_with_a_stopped_process_is_gone_at_once(
    site: Site, stack: AsyncExitStack
) -> None:
    watchers = [await Tab.enter(stack, site.at(number), "grace") for number in range(2)]
    await Tab.enter(stack, site.at(2), "ada")
    await asyncio.gather(*(each.sees(grace=2, ada=1) for each in watchers))
    await asyncio.to_thread(site.at(2).stop)
    stopped_at = time.monotonic()
    if site.several:
        await asyncio.gather(*(each.sees(grace=2) for each in watchers))
        assert time.monotonic() - stopped_at < LEASE_S
    for watcher in await survivors(site, stack, watchers):
        await watcher.sees(grace=2)


async def survivors(site: Site, stack: AsyncExitStack, guests: list[Tab]) -> list[Tab]:
    """The process comes back; those whose process it was come back to it."""
    await asyncio.to_thread(site.at(2).start)
    if site.several:
        return guests
    return [await Tab.enter(stack, site.at(0), "grace") for _ in guests]


@pytest.mark.parametrize("site", ["three"], indirect=True)
async def test_an_outage_of_redis_closes_nobody_and_what_it_swallowed_is_made_up_for(
    site: Site, stack: AsyncExitStack, redis_server: RedisServer
) -> None:
    ada, grace, linus = [
        await Tab.enter(stack, site.at(number), name)
        for number, name in enumerate(("ada", "grace", "linus"))
    ]
    tab = await Tab.enter(stack, site.at(1), "ada")
    for guest in (ada, grace, linus):
        await guest.sees(ada=2, grace=1, linus=1)
    redis_server.kill()
    near = await Tab.enter(stack, site.at(0), "admin")
    await near.join("garden")  # a room that no process could subscribe to
    await linus.client.close()
    await ada.sees(ada=2, grace=1, linus=1, admin=1)
    build_id = (await ada.client.act("generate_world", {"spec": forest()}))["build_id"]
    for guest in (ada, tab):
        status = await guest.client.next("build_status", within_s=PATIENCE_S)
        assert status["build_id"] == build_id
    await asyncio.sleep(RENEW_S)  # what was sent meanwhile is gone for good
    redis_server.start()
    for guest in (ada, grace, near):
        await guest.sees(ada=2, grace=1, admin=1)
    await grace.join("garden")
    await near.sees(room="garden", grace=1, admin=1)
    await near.client.act("speak", {"text": "is anybody here?"})
    await soon(lambda: "garden" in [each["room"] for each in grace.updates], within_s=PATIENCE_S)
    assert [each.client.socket.connected for each in (ada, tab, grace, near)] == [True] * 4
