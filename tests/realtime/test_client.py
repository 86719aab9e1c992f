"""The person's client against a real hub: it signs in, signs, keeps its heartbeat and hears no."""

import asyncio
from collections.abc import Iterator

import pytest

from realtime.client import HubClient, HubRefused
from tests.live import PASSWORD, LiveHub

pytestmark = pytest.mark.xdist_group("client")


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHub]:
    with LiveHub(HUB_HEARTBEAT_INTERVAL_S="0.2", HUB_INACTIVE_AFTER_S="1") as hub:
        hub.add_person("ada")
        yield hub


async def test_it_signs_in_acts_and_hears_its_other_socket(live: LiveHub) -> None:
    async with HubClient(live.url) as one, HubClient(live.url) as two:
        for client in (one, two):
            await client.sign_in("ada", PASSWORD)
            session = await client.connect()
            assert session["username"] == "ada"
        assert (await one.act("speak", {"text": "hello"}))["ok"] is True
        update = await two.next("action_update")
        assert update["payload"] == {"text": "hello"}
        with pytest.raises(TimeoutError):
            await one.next("action_update", within_s=0.05)


async def test_a_wrong_password_and_an_unknown_action_are_refusals_with_their_code(
    live: LiveHub,
) -> None:
    async with HubClient(live.url) as client:
        with pytest.raises(HubRefused, match="invalid_credentials"):
            await client.sign_in("ada", "wrong")
        await client.sign_in("ada", PASSWORD)
        await client.connect()
        with pytest.raises(HubRefused, match="unknown_type") as caught:
            await client.act("fly")
        assert caught.value.body["ok"] is False


async def test_a_bad_token_is_the_refusal_of_the_connection(live: LiveHub) -> None:
    async with HubClient(live.url) as client:
        await client.sign_in("ada", PASSWORD)
        client.login["access"] = "nonsense"
        with pytest.raises(HubRefused) as caught:
            await client.connect()
        assert caught.value.code == "AUTH_INVALID"


async def test_its_heartbeat_keeps_it_active_and_ends_with_it(live: LiveHub) -> None:
    async with HubClient(live.url) as client:
        await client.sign_in("ada", PASSWORD)
        await client.connect()
        for _ in range(6):  # more than the second after which a silent one is inactive
            assert (await client.next("heartbeat_result"))["ok"] is True
        changes = [diff["changes"] for diff in await everything(client, "presence_diff")]
        assert "inactive" not in str(changes)
        beating = client._beating
    assert beating is not None
    await asyncio.wait([beating])


async def everything(client: HubClient, event: str) -> list[dict[str, object]]:
    queue = client._queue(event)
    return [queue.get_nowait() for _ in range(queue.qsize())]


async def test_nothing_can_be_signed_before_it_is_connected(live: LiveHub) -> None:
    async with HubClient(live.url) as client:
        with pytest.raises(RuntimeError, match="not connected"):
            client.sign("click")
