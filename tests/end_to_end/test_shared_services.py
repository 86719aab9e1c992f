"""Two processes of the hub on a real Redis and a real PostgreSQL are one hub."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from realtime.agents.errors import NotSaid, Unwelcome
from realtime.client import HubClient, HubRefused
from tests.end_to_end.agents import HEARD_WITHIN_S, Listener, listening
from tests.end_to_end.engines import reference_engine
from tests.end_to_end.forest import forest
from tests.live import PASSWORD, LiveHub
from tests.waiting import soon

BUILD_S = 60.0
GONE_WITHIN_S = 1.0  # docs/security.md, "Identities"

Hubs = tuple[LiveHub, LiveHub]


@pytest.fixture(scope="module")
def hubs(
    shared_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hubs]:
    """Two processes with the same keys, database and Redis."""
    data_dir = tmp_path_factory.mktemp("shared")
    with LiveHub(data_dir=data_dir, **shared_environ) as first:
        first.add_person("ada")
        second = LiveHub(data_dir=data_dir, **shared_environ)
        second.start()
        yield first, second
        assert second.stop() == 0


@pytest.fixture
async def sockets(hubs: Hubs) -> AsyncIterator[tuple[HubClient, HubClient]]:
    """Ada, once at each process."""
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(HubClient(hub.url)) for hub in hubs]
        for client in both:
            await client.sign_in("ada", PASSWORD)
            await client.connect()
        yield both[0], both[1]


async def test_an_action_reaches_the_persons_socket_at_the_other_process(
    sockets: tuple[HubClient, HubClient],
) -> None:
    near, far = sockets
    await near.act("speak", {"text": "across"})
    update = await far.next("action_update")
    assert (update["type"], update["payload"]) == ("speak", {"text": "across"})


async def test_a_replay_is_refused_and_on_record(
    hubs: Hubs, sockets: tuple[HubClient, HubClient]
) -> None:
    near, _ = sockets
    envelope = near.sign("speak", {"text": "once"})
    assert (await near.send(envelope))["ok"]
    assert (await near.send(envelope))["error"] == "replay_detected"
    (row,) = hubs[0].violations(kind="replay_detected")
    assert row["count"] == 1


async def test_a_world_asked_for_here_is_built_by_the_engine_there(
    hubs: Hubs, sockets: tuple[HubClient, HubClient]
) -> None:
    near, far = sockets
    with reference_engine(hubs[1]):
        await near.act("generate_world", {"spec": forest()})
        worlds = [await each.next("world_update", within_s=BUILD_S) for each in (near, far)]
        assert worlds[0]["build_id"] == worlds[1]["build_id"]
        artifact = await near.request("GET", worlds[0]["artifact_url"])
        assert artifact[:4] == b"glTF"
    assert hubs[0].query("list(Build.objects.values_list('state', flat=True))") == ["completed"]


async def test_a_login_that_ends_at_one_process_ends_at_the_other(
    hubs: Hubs, sockets: tuple[HubClient, HubClient]
) -> None:
    near, far = sockets
    await far.request("POST", "/api/token/revoke/", {"refresh": near.login["refresh"]})
    with pytest.raises(HubRefused):
        await near.request("POST", "/api/token/refresh/", {"refresh": near.login["refresh"]})


async def test_an_agent_hears_and_speaks_to_people_at_the_other_process(
    hubs: Hubs, sockets: tuple[HubClient, HubClient]
) -> None:
    _, far = sockets
    secret = hubs[0].add_service("coach", "agent", "--rooms", "lobby")
    async with listening(hubs[0], "coach", secret, "lobby") as coach:
        await far.act("speak", {"text": "from afar"})
        heard = await coach.next("speak")
        assert heard["payload"] == {"text": "from afar"}
        await coach.agent.say(heard["user_id"], "Heard you.", reason="greeting")
        assert (await far.next("agent_update"))["message"] == "Heard you."
        with pytest.raises(NotSaid, match="PERSON_NOT_HERE"):
            await coach.agent.say("999", "Anybody?", reason="greeting")


async def test_a_change_of_an_agents_account_reaches_its_socket_within_a_second(
    hubs: Hubs, sockets: tuple[HubClient, HubClient]
) -> None:
    near, _ = sockets
    secret = hubs[0].add_service("wanderer", "agent")
    async with listening(hubs[1], "wanderer", secret) as wanderer:
        assert await ended_within(hubs[0], wanderer, "grant", "wanderer", "lobby") < GONE_WITHIN_S
        await wanderer.in_rooms("lobby")
        await near.act("speak", {"text": "now it hears"})
        assert (await wanderer.next("speak"))["payload"] == {"text": "now it hears"}
        assert await ended_within(hubs[0], wanderer, "revoke", "wanderer", "lobby") < GONE_WITHIN_S
        await wanderer.in_rooms()


async def test_a_disabled_agent_is_gone_within_a_second_and_stays_away(hubs: Hubs) -> None:
    secret = hubs[0].add_service("guest", "agent")
    guest = Listener(hubs[1], "guest", secret)
    running = asyncio.create_task(guest.agent.run())
    await guest.in_rooms()
    assert await ended_within(hubs[0], guest, "disable", "guest") < GONE_WITHIN_S
    with pytest.raises(Unwelcome):
        await running


async def ended_within(hub: LiveHub, listener: Listener, action: str, *words: str) -> float:
    """Seconds from a command's end to the end of the agent's connection; negative if before."""
    ended_at: list[float] = []

    async def watch() -> None:
        await soon(lambda: not listener.agent.connected, within_s=HEARD_WITHIN_S)
        ended_at.append(time.monotonic())

    watching = asyncio.create_task(watch())
    await asyncio.to_thread(hub.manage, "service", action, "agent", *words)
    done_at = time.monotonic()
    await watching
    return ended_at[0] - done_at
