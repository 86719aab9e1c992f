"""Two processes of the hub on a real Redis and a real PostgreSQL are one hub."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from realtime.client import HubClient, HubRefused
from tests.end_to_end.engines import reference_engine
from tests.end_to_end.forest import forest
from tests.live import PASSWORD, LiveHub

BUILD_S = 60.0

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
