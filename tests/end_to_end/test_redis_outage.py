"""What people and engines see while Redis is down, paused, full or has just lost its memory."""

import re
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from realtime.client import HubClient
from tests.live import PASSWORD, LiveHub
from tests.services import RedisServer
from tests.waiting import soon

TROUBLES: dict[str, Callable[[RedisServer], None]] = {
    "down": RedisServer.kill,
    "paused": RedisServer.pause,
    "full": RedisServer.fill,
}


@pytest.fixture(scope="module")
def hub(
    shared_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveHub]:
    with LiveHub(data_dir=tmp_path_factory.mktemp("outage"), **shared_environ) as running:
        running.add_person("ada")
        yield running


def metric(hub: LiveHub, name: str) -> float:
    with urllib.request.urlopen(f"{hub.url}/metrics") as answer:  # noqa: S310 - our own hub
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_used_nonces_are_in_redis(hub: LiveHub, redis_server: RedisServer) -> None:
    async with HubClient(hub.url) as ada:
        await ada.sign_in("ada", PASSWORD)
        await ada.connect()
        await ada.act("speak", {"text": "hello"})
        assert any(":n:user" in key for key in redis_server.call("KEYS", "hub:*"))


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_sockets_stay_and_actions_go_on_without_a_replay(
    hub: LiveHub, redis_server: RedisServer, trouble: str
) -> None:
    async with HubClient(hub.url) as ada:
        await ada.sign_in("ada", PASSWORD)
        await ada.connect()
        used = ada.sign("speak", {"text": "before"})
        assert (await ada.send(used))["ok"]
        TROUBLES[trouble](redis_server)
        assert (await ada.send(used))["error"] == "replay_detected"
        assert (await ada.act("speak", {"text": "during"}))["ok"]
        await soon(lambda: metric(hub, "hub_shared_state_degraded") == 1)
        redis_server.resume()
        redis_server.start()
        redis_server.config_set(maxmemory=0)
        await soon(lambda: metric(hub, "hub_shared_state_degraded") == 0)
        assert (await ada.send(used))["error"] == "replay_detected"
        assert (await ada.act("speak", {"text": "after"}))["ok"]
