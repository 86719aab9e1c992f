"""The largest world that the schema admits holds nobody up: others are answered meanwhile."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from realtime.client import HubClient
from tests.chaos.worlds import plain_world
from tests.live import PASSWORD, LiveHub

pytestmark = pytest.mark.timeout(300)

LARGEST = 1_000
ANSWERED = 3  # a loop that does the work itself answers the one ping that it has heard before


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    with LiveHub(data_dir=tmp_path_factory.mktemp("hub")) as running:
        for name in ("ada", "grace"):
            running.add_person(name)
        yield running


class Bystander:
    """Asks for an answer again and again, and notes when each came."""

    def __init__(self, client: HubClient) -> None:
        self._client = client
        self.answered: list[float] = []

    async def ping(self) -> None:
        while True:
            answer = await self._client.socket.call("heartbeat", {"ts": self._client.now_ms()})
            assert answer["ok"]
            self.answered.append(time.monotonic())
            await asyncio.sleep(0.01)  # below the rate of a person


async def test_a_world_of_a_thousand_entities_is_queued_while_others_are_answered(
    hub: LiveHub,
) -> None:
    async with HubClient(hub.url) as ada, HubClient(hub.url) as grace:
        for name, client in (("ada", ada), ("grace", grace)):
            await client.sign_in(name, PASSWORD)
            await client.connect()
        bystander = Bystander(grace)
        pinging = asyncio.create_task(bystander.ping())
        envelope = ada.sign("generate_world", {"spec": plain_world(LARGEST)})
        asked = time.monotonic()
        answer = await ada.send(envelope)
        took_s = time.monotonic() - asked
        pinging.cancel()
    assert answer["ok"], answer
    assert len(answer["jobs"]) == LARGEST + 2
    meanwhile = [at for at in bystander.answered if asked < at < asked + took_s]
    assert len(meanwhile) >= ANSWERED, f"{len(meanwhile)} answers in {took_s:.3f} s"
    (row,) = hub.query("list(Build.objects.values('state', 'total'))")
    assert row == {"state": "queued", "total": LARGEST + 2}


async def test_a_world_of_a_thousand_and_one_entities_is_refused_and_leaves_nothing(
    hub: LiveHub,
) -> None:
    async with HubClient(hub.url) as grace:
        await grace.sign_in("grace", PASSWORD)
        await grace.connect()
        answer = await grace.send(grace.sign("generate_world", {"spec": plain_world(LARGEST + 1)}))
        assert (answer["error"], answer["path"]) == ("schema_validation_failed", "$.entities")
        assert (await grace.next("job_error"))["path"] == "$.entities"
        builds = await grace.request("GET", "/api/builds/")
    assert builds["results"] == []
