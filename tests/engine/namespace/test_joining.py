"""Who may open "/engine", and what an engine is told when it does."""

from collections.abc import Callable

import pytest

from tests.engine.engine_bench import EngineBench
from tests.realtime.guarded import settle


async def test_an_engine_is_told_what_is_expected_of_it(hub: EngineBench) -> None:
    session = await hub.engine().connect()
    assert (session["principal"], session["engine"]) == ("engine:forge", "forge")
    assert (session["namespace"], session["drift_ms"]) == ("/engine", 30_000)
    assert session["heartbeat"] == {"interval_ms": 3_000, "disconnect_after_ms": 90_000}
    assert session["limits"] == {
        "max_payload": 1_000_000,
        "actions_per_s": 1_000.0,
        "burst": 2_000,
    }
    assert hub.names() == []


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://testserver", "http://testserver.evil"]
)
async def test_a_page_of_another_origin_is_no_engine(hub: EngineBench, origin: str) -> None:
    peer = hub.engine(headers={"host": "localhost", "origin": origin})
    refused = await peer.connect()
    assert refused["data"]["code"] == "FORBIDDEN"
    assert hub.kinds() == ["origin_forbidden"]
    assert hub.incidents[0].detail["seen"] == origin
    assert peer.wires.code == 4403


async def test_the_hubs_own_origin_is_what_a_stock_client_sends(hub: EngineBench) -> None:
    peer = hub.engine(headers={"host": "localhost:8000", "origin": "http://localhost:8000"})
    assert (await peer.connect())["engine"] == "forge"


async def test_a_token_of_another_audience_opens_nothing(hub: EngineBench) -> None:
    assert (await hub.engine().connect("ada"))["data"]["code"] == "AUTH_INVALID"
    person = hub.peer()
    assert (await person.connect("forge"))["data"]["code"] == "AUTH_INVALID"
    assert hub.kinds() == ["auth_invalid", "auth_invalid"]


@pytest.mark.parametrize("nonce", [None, "", "AAAA", 5, "=" * 43])
async def test_an_engine_brings_32_bytes_of_its_own(hub: EngineBench, nonce: object) -> None:
    refused = await hub.engine().connect(client_nonce=nonce)
    assert refused["data"]["code"] == "AUTH_INVALID"
    assert hub.kinds() == ["auth_invalid"]


async def test_the_feed_of_a_person_is_no_key_here(hub: EngineBench) -> None:
    await hub.engine().connect(feed={"epoch": "e", "after": 0})
    assert hub.kinds() == ["auth_bypass_attempt"]


async def test_the_sockets_of_one_engine_are_bounded(make_hub: Callable[..., EngineBench]) -> None:
    hub = make_hub(sockets_per_user=2)
    first = hub.engine()
    await first.connect()
    await hub.engine().connect()
    assert (await hub.engine().connect())["data"]["code"] == "TOO_MANY_CONNECTIONS"
    assert (await hub.engine().connect("anvil"))["engine"] == "anvil"
    first.lose()
    await settle()
    assert (await hub.engine().connect())["engine"] == "forge"
