"""Agents over real sockets: the reference agent's words, and when an agent has to go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from realtime.agents.client import Agent
from realtime.agents.errors import NotSaid, Unwelcome
from realtime.client import HubClient
from tests.end_to_end.agents import HEARD_WITHIN_S, listening, reference_agent
from tests.live import PASSWORD, LiveHub
from tests.sites import Site


@pytest.fixture(scope="module", params=["one", "three"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """People are at the first process, agents at another, where there is one."""
    several = request.param == "three"
    environ = request.getfixturevalue("shared_environ") if several else {}
    count, folder = 3 if several else 1, tmp_path_factory.mktemp("agents")
    with Site(folder, count=count, people=("ada",), environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def hub(site: Site) -> LiveHub:
    """Where the people are."""
    return site.at(0)


@pytest.fixture(scope="module")
def elsewhere(site: Site) -> LiveHub:
    """Where the agents are."""
    return site.at(1)


@pytest.fixture(scope="module")
def coach(hub: LiveHub) -> str:
    """An account that hears the lobby; its secret."""
    return hub.add_service("coach", "agent", "--rooms", "lobby")


@pytest.fixture
async def ada(hub: LiveHub) -> AsyncIterator[HubClient]:
    async with HubClient(hub.url) as client:
        await client.sign_in("ada", PASSWORD)
        await client.connect()
        yield client


async def test_the_reference_agent_has_a_word_for_hurry_and_one_for_stillness(
    hub: LiveHub, elsewhere: LiveHub, coach: str, ada: HubClient
) -> None:
    with reference_agent(elsewhere, coach, "--clicks", "5", "--still-s", "2", "--cooldown-s", "1"):
        hurry = await until_hinted(ada)
        assert (hurry["agent"], hurry["reason"]) == ("coach", "rapid_clicking")
        assert hurry["in_reply_to"].startswith("act_")
        still = await ada.next("agent_update", within_s=HEARD_WITHIN_S)
        assert (still["reason"], "in_reply_to" in still) == ("idle", False)
    audited = hub.query(
        "list(AuditEntry.objects.filter(action='action.agent_update').order_by('id')"
        ".values_list('principal', 'target', 'detail'))"
    )
    user = f"user:{ada.session['user_id']}"
    assert audited[:2] == [
        ["agent:coach", user, {"reason": "rapid_clicking"}],
        ["agent:coach", user, {"reason": "idle"}],
    ]


async def test_an_agent_hears_and_speaks_in_its_rooms_only(
    hub: LiveHub, elsewhere: LiveHub, ada: HubClient
) -> None:
    secret = hub.add_service("gardener", "agent", "--rooms", "garden")
    async with listening(elsewhere, "gardener", secret, "garden") as gardener:
        await ada.act("speak", {"text": "in the lobby"})
        with pytest.raises(NotSaid, match="PERSON_NOT_HERE"):
            await gardener.agent.say(ada.session["user_id"], "Hello?", reason="greeting")
        await ada.act("room_join", {"room": "garden"})
        await ada.act("speak", {"text": "in the garden"})
        heard = await gardener.next("speak")
        assert (heard["room"], heard["payload"]) == ("garden", {"text": "in the garden"})
        await gardener.agent.say(heard["user_id"], "Welcome!", reason="greeting")
        assert (await ada.next("agent_update"))["message"] == "Welcome!"
    (row,) = hub.violations(kind="person_not_here")
    assert (row["principal"], row["event_type"]) == ("agent:gardener", "agent_update")


async def test_a_hub_that_does_not_know_the_agent_is_not_asked_again(hub: LiveHub) -> None:
    secret = hub.add_service("stranger", "agent")
    hub.manage("service", "disable", "agent", "stranger")
    with pytest.raises(Unwelcome):
        await Agent(hub.url, "stranger", secret).run()


async def until_hinted(person: HubClient) -> dict[str, Any]:
    """Click until an agent, which may still be on its way, has a word about it."""
    async with asyncio.timeout(HEARD_WITHIN_S):
        while True:
            await person.act("click", {"target": "door"})
            with contextlib.suppress(TimeoutError):
                hint: dict[str, Any] = await person.next("agent_update", within_s=0.1)
                return hint
