"""Stock clients against ``serve``: socket.io-client over WebSocket, and python-socketio's."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realtime.client import HubClient
from tests.end_to_end.engines import reference_engine
from tests.end_to_end.forest import FOREST_JOBS, assert_stages_were_in_order, forest
from tests.live import PASSWORD, LiveHub

pytestmark = pytest.mark.timeout(300)  # several processes start in it, on a busy machine slowly

BUILD_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def engine(hub: LiveHub) -> Iterator[None]:
    with reference_engine(hub):
        yield


@pytest.fixture
def tour(run_node: Callable[..., dict[str, Any]], hub: LiveHub) -> dict[str, Any]:
    visitor = f"visitor-{secrets.token_hex(4)}"
    hub.add_person(visitor)
    return run_node("tour.mjs", hub, visitor)


def test_socket_io_client_acts_is_refused_and_builds_a_world(tour: dict[str, Any]) -> None:
    assert tour["engine"] == "websocket"
    assert tour["session"]["namespace"] == "/"
    assert tour["events"][0] == "session"
    assert {"presence_state", "engine_status"} <= set(tour["events"])
    assert tour["accepted"]["ok"]
    assert tour["beat"]["ok"]

    update = tour["update"]
    assert (update["type"], update["payload"]) == ("speak", {"text": "hello — 你好"})
    assert update["sid"] == tour["sids"][0]

    assert not tour["replayed"]["ok"]
    assert tour["replayed"]["error"] == "replay_detected"

    assert len(tour["build"]["jobs"]) == FOREST_JOBS
    assert tour["world"]["build_id"] == tour["build"]["build_id"]
    assert tour["events"].count("world_update") == 1
    assert_stages_were_in_order(tour["jobs"])


async def test_python_socketio_acts_is_refused_and_builds_a_world(hub: LiveHub) -> None:
    async with HubClient(hub.url) as near, HubClient(hub.url) as far:
        for client in (near, far):
            await client.sign_in("ada", PASSWORD)
            await client.connect()

        envelope = near.sign("emote", {"name": "wave"})
        assert (await near.send(envelope))["ok"]
        assert (await far.next("action_update"))["payload"] == {"name": "wave"}
        assert (await near.send(envelope))["error"] == "replay_detected"

        accepted = await near.act("generate_world", {"spec": forest()})
        world = await near.next("world_update", within_s=BUILD_S)
        assert world["build_id"] == accepted["build_id"]
        assert (await near.request("GET", world["artifact_url"]))[:4] == b"glTF"

        build = await near.request("GET", f"/api/builds/{world['build_id']}/")
        assert_stages_were_in_order(build["jobs"])
        feed = await near.request("GET", "/api/feed/?after=0")
        names = [event["event"] for event in feed["events"]]
        assert names.count("world_update") == 1
        assert names.index("world_update") > max(
            place for place, name in enumerate(names) if name == "job_status"
        )
