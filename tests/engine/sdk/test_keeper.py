"""Getting connected and staying so, against a hub with real sockets and signatures."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from engine.sdk import Engine, HubRefused
from tests.engine.fake_hub import NAME, QUICK, FakeHub, Running, nothing


async def test_an_engine_proves_itself_and_says_what_it_can_do(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    engine.job("BUILD_SCENE")(nothing)
    engine.job("ANOTHER")(nothing)
    async with running(engine):
        ready = await hub.hears("engine_ready")
    assert ready.body == {
        "capacity": 4,
        "job_types": ["ANOTHER", "BUILD_SCENE"],
        "version": "test",
    }
    assert hub.connections[0].token == hub.tokens[0]


async def test_a_wrong_clock_is_corrected_before_anything_is_signed(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    hub.clock_ahead_ms = 3_600_000
    async with running(engine):
        await hub.hears("engine_ready")
    assert hub.faults == []


async def test_a_token_request_outside_the_window_asks_for_the_time_again(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    hub.token_answers = [(401, {"code": "timestamp_expired", "message": "late"})]
    async with running(engine):
        await hub.hears("engine_ready")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {}),
        (429, {"code": "rate_limited", "retry_after_ms": 1}),
        (500, {"code": "internal_error"}),
    ],
)
async def test_a_hub_in_trouble_is_asked_again(
    hub: FakeHub, engine: Engine, running: Running, status: int, body: dict[str, Any]
) -> None:
    hub.token_answers = [(status, body)] * 2
    async with running(engine):
        await hub.hears("engine_ready")


async def test_a_wrong_secret_ends_the_run(hub: FakeHub, engine: Engine) -> None:
    hub.token_answers = [(401, {"code": "invalid_signature", "message": "no"})]
    with pytest.raises(HubRefused, match="invalid_signature"):
        await engine.run()


@pytest.mark.parametrize(
    "code", ["AUTH_INVALID", "AUTH_EXPIRED", "TOO_MANY_CONNECTIONS", "PENALTY"]
)
async def test_a_refused_token_is_replaced(
    hub: FakeHub, engine: Engine, running: Running, code: str
) -> None:
    hub.refusals = [(code, {"code": code, "retry": False, "server_time": 0})]
    async with running(engine):
        await hub.hears("engine_ready")
    assert len(hub.tokens) == 2
    assert hub.connections[0].token == hub.tokens[1]


async def test_a_forbidden_engine_stops_for_good(hub: FakeHub, engine: Engine) -> None:
    hub.refusals = [("FORBIDDEN", {"code": "FORBIDDEN", "retry": False, "server_time": 0})]
    with pytest.raises(HubRefused, match="FORBIDDEN"):
        await engine.run()
    assert len(hub.tokens) == 1


async def test_a_dropped_connection_is_made_again_with_a_new_token_and_nonce(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    async with running(engine):
        await hub.hears("engine_ready")
        hub.drop()
        await hub.hears("engine_ready", count=2)
    first, second = hub.connections
    assert first.token != second.token
    assert first.client_nonce != second.client_nonce
    assert [said.body for said in hub.all("engine_resume")] == [{"attempts": []}] * 2


async def test_a_goodbye_keeps_the_engine_away_for_as_long_as_the_hub_asks(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    async with running(engine):
        await hub.hears("engine_ready")
        left = asyncio.get_running_loop().time()
        await hub.goodbye(1012, retry_after_ms=300)
        await hub.hears("engine_ready", count=2)
        assert asyncio.get_running_loop().time() - left >= 0.3


@pytest.mark.parametrize("code", [4400, 4403, 4409])
async def test_a_final_goodbye_ends_the_run(hub: FakeHub, engine: Engine, code: int) -> None:
    task = asyncio.create_task(engine.run())
    await hub.hears("engine_ready")
    await hub.goodbye(code)
    with pytest.raises(HubRefused, match=str(code)):
        await task


async def test_a_goodbye_for_the_token_brings_a_new_one(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.goodbye(4401)
        await hub.hears("engine_ready", count=2)


async def test_a_new_token_is_brought_before_the_old_one_ends(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    hub.token_life_ms = 50
    async with running(engine):
        renewal = await hub.hears("reauth", count=2)
    assert renewal.body["token"] in hub.tokens
    assert len(hub.connections) == 1


async def test_a_hub_that_does_not_answer_heartbeats_is_left(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    hub.heartbeat_ms, hub.silent_after_ms = 10, 60
    hub.acks["engine_heartbeat"] = [None] * 100
    engine = Engine(hub.url, NAME, hub.secret, timing=replace(QUICK, ack_s=0.02))
    async with running(engine):
        await hub.hears("engine_ready", count=2)


async def test_an_introduction_that_the_hub_cannot_take_now_is_repeated(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    hub.acks["engine_ready"] = [{"ok": False, "error": "TRY_AGAIN"}] * 2
    async with running(engine):
        await hub.hears("engine_ready", count=3)
    assert len(hub.connections) == 1


async def test_an_introduction_that_the_hub_never_takes_ends_the_run(
    hub: FakeHub, engine: Engine
) -> None:
    hub.acks["engine_ready"] = [{"ok": False, "error": "PAYLOAD_INVALID"}]
    with pytest.raises(HubRefused, match="PAYLOAD_INVALID"):
        await engine.run()


async def test_an_engine_outlives_its_hub(hub: FakeHub, engine: Engine, running: Running) -> None:
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.stop()
        successor = FakeHub()
        successor.key = hub.key
        await successor.start(int(hub.url.rpartition(":")[2]))
        await successor.hears("engine_ready")
        engine.stop()
        await successor.hears("engine_draining")
    await successor.stop()
    assert successor.faults == []


async def test_an_engine_waits_for_a_hub_that_is_not_there_yet(running: Running) -> None:
    hub = FakeHub()
    await hub.start()
    await hub.stop()
    engine = Engine(hub.url, NAME, hub.secret, timing=QUICK)
    async with running(engine) as task:
        late = FakeHub()
        late.key = hub.key
        await late.start(int(hub.url.rpartition(":")[2]))
        await late.hears("engine_ready")
        assert not task.done()
    await late.stop()


async def test_a_session_that_makes_no_sense_ends_the_run(hub: FakeHub, engine: Engine) -> None:
    hub.session_changes = {"server_nonce": "short"}
    with pytest.raises(HubRefused, match="session_malformed"):
        await engine.run()


async def test_a_hub_that_never_sends_a_session_is_tried_again(
    hub: FakeHub, running: Running
) -> None:
    hub.mute_sessions = 1
    engine = Engine(hub.url, NAME, hub.secret, timing=replace(QUICK, connect_s=0.2))
    async with running(engine):
        await hub.hears("engine_ready")
    assert len(hub.connections) == 2


async def test_every_heartbeat_lists_the_attempts(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    hub.heartbeat_ms = 10
    async with running(engine):
        beat = await hub.hears("engine_heartbeat", count=3)
    assert beat.body == {"attempts": []}
