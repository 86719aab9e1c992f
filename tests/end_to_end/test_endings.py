"""How the hub ends a socket: what is said before, the close code, and who else learns of it."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.client import HubClient
from security.signatures import to_base64url
from tests.end_to_end.records import refusals_of
from tests.end_to_end.wire import Wire
from tests.live import PASSWORD, LiveHub

pytestmark = pytest.mark.timeout(300)  # several processes start in it, on a busy machine slowly


@pytest.fixture(scope="module")
def quick_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """A hub that expects heartbeats often."""
    timings = {
        "HUB_HEARTBEAT_INTERVAL_S": "0.2",
        "HUB_INACTIVE_AFTER_S": "1",
        "HUB_DISCONNECT_AFTER_S": "2.5",
    }
    with LiveHub(data_dir=tmp_path_factory.mktemp("quick"), **timings) as running:
        for name in ("ada", "grace"):
            running.add_person(name)
        yield running


@pytest.fixture(scope="module")
def strict_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """A hub whose tokens live for two seconds."""
    with LiveHub(data_dir=tmp_path_factory.mktemp("strict"), HUB_ACCESS_TOKEN_S="2") as running:
        running.add_person("ada")
        yield running


async def join(wire: Wire, client: HubClient) -> dict[str, Any]:
    """Connect with the client's token; returns the hub's ``session``."""
    await wire.join(auth_of(client))
    session: dict[str, Any] = await wire.next("session")
    return session


def auth_of(client: HubClient) -> dict[str, str]:
    nonce = to_base64url(secrets.token_bytes(32))
    return {"token": client.login["access"], "client_nonce": nonce}


async def change_of(client: HubClient, username: str) -> tuple[str, dict[str, Any]]:
    """The next thing that somebody hears of somebody's presence."""
    while True:
        diff = await client.next("presence_diff")
        for kind in ("joins", "changes", "leaves"):
            for member in diff[kind]:
                if member["username"] == username:
                    return kind, member


async def test_a_socket_without_heartbeat_is_shown_inactive_and_then_closed(
    quick_hub: LiveHub,
) -> None:
    async with (
        HubClient(quick_hub.url) as grace,
        HubClient(quick_hub.url) as ada,
        Wire(quick_hub.url) as silent,
    ):
        await grace.sign_in("grace", PASSWORD)
        await ada.sign_in("ada", PASSWORD)
        await grace.connect()
        session = await join(silent, ada)

        assert (await change_of(grace, "ada"))[0] == "joins"
        kind, member = await change_of(grace, "ada")
        assert (kind, member["state"]) == ("changes", "inactive")
        assert refusals_of(quick_hub, session["principal"]) == []

        assert (await silent.next("goodbye"))["code"] == 4408
        assert await silent.closed() == 4408
        assert (await change_of(grace, "ada"))[0] == "leaves"
        assert refusals_of(quick_hub, session["principal"]) == [("heartbeat_missing", 1)]

        assert (await grace.act("speak", {"text": "still here"}))["ok"]
        assert refusals_of(quick_hub, grace.session["principal"]) == []


async def test_an_expired_token_ends_its_socket_and_opens_no_other(strict_hub: LiveHub) -> None:
    async with HubClient(strict_hub.url) as ada:
        await ada.sign_in("ada", PASSWORD)
        async with Wire(strict_hub.url) as wire:
            await join(wire, ada)
            expired = await wire.next("auth_expired")
            # Its timer goes by another clock, which may be ahead by the fraction of a millisecond.
            assert expired["server_time"] >= expired["token_expires_at"] - 1
            assert (await wire.next("goodbye"))["code"] == 4401
            assert await wire.closed() == 4401
        async with Wire(strict_hub.url) as late:
            refusal = await late.join(auth_of(ada))
            assert refusal["message"] == refusal["data"]["code"] == "AUTH_EXPIRED"
            assert await late.closed() == 4401
        assert refusals_of(strict_hub) == [("AUTH_EXPIRED", 1)]


async def test_a_restart_says_goodbye_and_ends_with_exit_code_zero(tmp_path: Path) -> None:
    with LiveHub(data_dir=tmp_path) as hub:
        hub.add_person("ada")
        async with HubClient(hub.url) as ada, Wire(hub.url) as wire:
            await ada.sign_in("ada", PASSWORD)
            await join(wire, ada)
            code = await asyncio.to_thread(hub.stop)
            goodbye = await wire.next("goodbye")
            assert (goodbye["code"], goodbye["retry_after_ms"] > 0) == (1012, True)
            assert await wire.closed() == 1012
    assert code == 0
