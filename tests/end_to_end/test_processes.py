"""A hub is one hub: the same tests for one process, and for three on Redis and PostgreSQL.

Presence is in test_presence, outages in test_outages, what several processes refuse together in
tests/hostile/test_processes.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from realtime.client import HubClient, HubRefused
from tests.chaos.worlds import plain_world
from tests.end_to_end.engines import reference_engine
from tests.end_to_end.staff import Staff
from tests.live import PASSWORD
from tests.sites import PATIENCE_S, Guest, Site
from tests.waiting import soon

pytestmark = pytest.mark.timeout(300)

FEED_EVENTS = ("build_status", "job_status", "world_update")
SETTINGS = {"HUB_MESSAGES_PER_S": "1000", "HUB_MESSAGE_BURST": "1000"}
ENDED_WITHIN_S = 15.0  # announced; asking regularly would take up to 30 s
MANY = 40


class Reader(Guest):
    """A guest who keeps the feed in the order in which it came."""

    def __init__(self, client: HubClient) -> None:
        super().__init__(client)
        self.entries: list[tuple[int, str, dict[str, Any]]] = []
        self.goodbyes: list[dict[str, Any]] = []
        for event in FEED_EVENTS:
            client.on(event, lambda data, event=event: self._keep(event, data))
        client.on("goodbye", self.goodbyes.append)

    def _keep(self, event: str, data: dict[str, Any]) -> None:
        if "seq" in data:
            self.entries.append((data["seq"], event, data))

    def worlds(self, build_id: str) -> int:
        """How often a build's end was told."""
        return sum(e == "world_update" and d["build_id"] == build_id for _, e, d in self.entries)

    async def ask(self, *, entities: int = 3) -> str:
        """Ask for a world; its build."""
        answer = await self.client.act("generate_world", {"spec": plain_world(entities=entities)})
        build_id: str = answer["build_id"]
        return build_id

    async def sees_built(self, build_id: str) -> None:
        await soon(lambda: self.worlds(build_id) > 0, within_s=PATIENCE_S)


@pytest.fixture(scope="module", params=["one", "three"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    several = request.param == "three"
    environ = request.getfixturevalue("shared_environ") if several else {}
    with Site(
        tmp_path_factory.mktemp("processes"),
        count=3 if several else 1,
        people=("ada", "grace", "linus", "mallory", "admin"),
        environ={**environ, **SETTINGS},
    ) as running:
        yield running


@pytest.fixture(scope="module")
def engine(site: Site) -> Iterator[None]:
    """At one of the processes."""
    with reference_engine(site.at(1)):
        yield


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_what_is_said_is_heard_once_by_everybody_and_never_by_who_said_it(
    site: Site, stack: AsyncExitStack
) -> None:
    ada = await Reader.enter(stack, site.at(0), "ada")
    tab = await Reader.enter(stack, site.at(1), "ada")
    others = [await Reader.enter(stack, site.at(n), "grace") for n in (2, 0)]
    words = [secrets.token_hex(4) for _ in range(MANY)]
    for word in words:
        await ada.client.act("speak", {"text": word})
    for each in (tab, *others):
        await soon(lambda each=each: len(each.updates) >= MANY, within_s=PATIENCE_S)  # type: ignore[misc]  # bound now
        assert [update["payload"]["text"] for update in each.updates] == words
        assert {update["room"] for update in each.updates} == {"lobby"}
    assert ada.updates == []


@pytest.mark.usefixtures("engine")
async def test_a_world_is_told_to_all_sockets_of_its_owner_in_one_order_and_to_nobody_else(
    site: Site, stack: AsyncExitStack
) -> None:
    tabs = [await Reader.enter(stack, site.at(n), "ada") for n in range(3)]
    grace = await Reader.enter(stack, site.at(2), "grace")
    build_id = await tabs[0].ask()
    for tab in tabs:
        await tab.sees_built(build_id)
        assert tab.worlds(build_id) == 1
        first = tab.entries[0][0]
        assert [seq for seq, _, _ in tab.entries] == [*range(first, first + len(tab.entries))]
    assert tabs[0].entries == tabs[1].entries == tabs[2].entries
    assert grace.entries == []
    after = tabs[0].entries[0][0] - 1
    page = await tabs[2].client.request("GET", f"/api/feed/?after={after}")
    assert [(e["seq"], e["event"], e["data"]) for e in page["events"]] == tabs[0].entries
    artifact = tabs[0].entries[-1][2]["artifact_url"]
    assert (await tabs[1].client.request("GET", artifact))[:4] == b"glTF"


@pytest.mark.usefixtures("engine")
async def test_who_comes_back_elsewhere_goes_on_where_they_were(
    site: Site, stack: AsyncExitStack
) -> None:
    async with AsyncExitStack() as first:
        linus = await Reader.enter(first, site.at(0), "linus")
        place = linus.client.session["feed"]
        build_id = await linus.ask()
        await linus.sees_built(build_id)
    cut = len(linus.entries) // 2
    client = await stack.enter_async_context(HubClient(site.at(2).url))
    again = Reader(client)
    await client.sign_in("linus", PASSWORD)
    session = await client.connect(
        feed={"epoch": place["epoch"], "after": linus.entries[cut - 1][0]}
    )
    assert session["feed"]["recovered"] is True
    await again.sees_built(build_id)
    assert again.entries == linus.entries[cut:]


async def test_a_build_is_cancelled_from_elsewhere(site: Site, stack: AsyncExitStack) -> None:
    here = await Reader.enter(stack, site.at(0), "grace")
    there = await Reader.enter(stack, site.at(2), "grace")
    build_id = await here.ask(entities=100)  # more than any engine builds in a moment
    await there.client.act("build_cancel", {"build_id": build_id})
    for each in (here, there):
        await soon(
            lambda each=each: any(  # type: ignore[misc]  # bound now
                e == "build_status" and d["status"] == "failed" and d["build_id"] == build_id
                for _, e, d in each.entries
            ),
            within_s=PATIENCE_S,
        )


async def two_tabs(stack: AsyncExitStack, site: Site, name: str) -> list[Reader]:
    """One login at two processes."""
    first = await Reader.enter(stack, site.at(0), name)
    client = await stack.enter_async_context(HubClient(site.at(1).url))
    tabs = [first, Reader(client)]
    client.login = first.client.login
    await client.connect()
    return tabs


async def are_ended(tabs: list[Reader]) -> None:
    for tab in tabs:
        await soon(lambda tab=tab: bool(tab.goodbyes), within_s=ENDED_WITHIN_S)  # type: ignore[misc]  # bound now
        assert tab.goodbyes[0]["code"] == 4401


async def test_staff_see_a_connection_of_any_process_and_end_it_and_top_counts_all(
    site: Site, stack: AsyncExitStack
) -> None:
    grace = await Reader.enter(stack, site.at(0), "grace")
    linus = await Reader.enter(stack, site.at(1), "linus")
    await linus.client.act("room_join", {"room": "attic"})
    processes = len(site.hubs)
    for hub in site.hubs:
        seen = json.loads(await asyncio.to_thread(hub.manage, "top", "--json", "--url", hub.url))
        assert len(seen["processes"]) == processes
        assert (seen["degraded"], seen["silent_processes"]) == ([], 0)
        assert (seen["namespaces"]["/"], seen["people"]["total"]) == (2, 2)
    staff = await asyncio.to_thread(Staff, site.at(2), "admin")
    listed = await asyncio.to_thread(staff.connections, "attic")
    assert f"1 connection at {processes} process" in listed
    assert "did not answer" not in listed
    assert "The connection is closed." in await asyncio.to_thread(staff.disconnect, "attic")
    await soon(lambda: bool(linus.goodbyes), within_s=ENDED_WITHIN_S)
    goodbye = linus.goodbyes[0]
    assert (goodbye["code"], goodbye["reason"]) == (4401, "ended by staff")
    assert (await grace.client.act("speak", {}))["ok"]
    audited = "list(AuditEntry.objects.filter(action='staff_connection_ended').values('target'))"
    assert site.at(0).query(audited) == [{"target": linus.client.session["principal"]}]


async def test_staff_end_a_login_and_block_a_person_whose_violation_they_see(
    site: Site, stack: AsyncExitStack
) -> None:
    tabs = await two_tabs(stack, site, "mallory")
    replayed = tabs[0].client.sign("speak", {"text": "once"})
    answers = [(await tabs[0].client.send(replayed)).get("error") for _ in range(2)]
    assert answers == [None, "replay_detected"]
    principal = tabs[0].client.session["principal"]
    found = f"Violation.objects.get(kind='replay_detected', principal={principal!r}).pk"
    row = await asyncio.to_thread(site.at(0).query, found)
    staff = await asyncio.to_thread(Staff, site.at(2), "admin")
    await asyncio.to_thread(staff.act, "violation", "end_their_sessions", row)
    await are_ended(tabs)
    again = await two_tabs(stack, site, "mallory")
    await asyncio.to_thread(staff.act, "violation", "block_for_an_hour", row)
    await are_ended(again)
    for number in range(3):
        client = await stack.enter_async_context(HubClient(site.at(number).url))
        client.login = again[0].client.login
        with pytest.raises(HubRefused, match="PENALTY"):
            await client.connect()


async def test_a_login_that_is_ended_anywhere_ends_everywhere_and_others_stay(
    site: Site, stack: AsyncExitStack
) -> None:
    first = await Reader.enter(stack, site.at(0), "linus")
    grace = await Reader.enter(stack, site.at(1), "grace")
    tabs = [first]
    for number in (1, 2):
        client = await stack.enter_async_context(HubClient(site.at(number).url))
        tabs.append(Reader(client))
        client.login = first.client.login
        await client.connect()
    refresh = first.client.login["refresh"]
    await tabs[2].client.request("POST", "/api/token/revoke/", {"refresh": refresh})
    async with asyncio.timeout(ENDED_WITHIN_S):
        for tab in tabs:
            await soon(lambda tab=tab: bool(tab.goodbyes), within_s=ENDED_WITHIN_S)  # type: ignore[misc]  # bound now
            assert tab.goodbyes[0]["code"] == 4401
    assert (await grace.client.act("speak", {}))["ok"]
    assert grace.goodbyes == []
