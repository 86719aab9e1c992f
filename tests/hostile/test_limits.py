"""Limits, budgets, expiry and revocation over real sockets, on a hub with the default numbers.

Only times are shorter than the defaults, so that a test need not wait for minutes.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from security.signatures import to_base64url
from tests.hostile.raw import CLIENT_NONCE, Member
from tests.hostile.stage import Stage, staged

pytestmark = pytest.mark.xdist_group("hostile")


@pytest.fixture(scope="module")
def strict() -> Iterator[Stage]:
    with staged(
        HUB_CONNECT_DEADLINE_S="5",
        HUB_PING_INTERVAL_S="1",
        HUB_PING_TIMEOUT_S="2",
        HUB_INACTIVE_AFTER_S="3",
        HUB_DISCONNECT_AFTER_S="6",
        HUB_HANDSHAKE_BURST="30",
        HUB_HANDSHAKES_PER_S="1",
        HUB_NONCE_CAPACITY="60",
        HUB_ENGINE_MESSAGE_BURST="20",
        HUB_ENGINE_MESSAGES_PER_S="1",
    ) as stage:
        yield stage


async def test_who_never_connects_is_closed_in_time(strict: Stage) -> None:
    async with strict.raw(strict.address({"auth_required": 1})) as client:
        assert await client.closed() == 4408


async def test_who_answers_no_ping_is_closed_in_time(strict: Stage) -> None:
    async with strict.member(strict.person(), strict.address({})) as client:
        client.pongs = False
        assert await client.closed() == 4408


async def test_who_sends_no_heartbeat_is_shown_inactive_and_then_closed(strict: Stage) -> None:
    silent, watcher = strict.cast["person1"], strict.cast["person0"]
    ip = strict.address({"heartbeat_missing": 1})
    async with (
        strict.member(silent, ip) as client,
        strict.member(watcher, strict.address({})) as other,
    ):
        beating = asyncio.create_task(beat(other))
        assert await client.closed() == 4408
        assert client.heard("goodbye")[0]["code"] == 4408
        left = f'"leaves":[{{"user_id":"{client.session["user_id"]}"'
        await other.until(lambda frame: left in frame)
        beating.cancel()
        shown = [
            each["state"]
            for diff in other.heard("presence_diff")
            for each in (*diff["changes"], *diff["leaves"])
            if each["user_id"] == client.session["user_id"]
        ]
        assert shown == ["inactive", "disconnected"]


async def beat(member: Member) -> None:
    while True:
        await member.call("heartbeat")
        await asyncio.sleep(0.5)  # the interval of the heartbeat


async def test_a_ninth_socket_of_a_person_is_refused(strict: Stage) -> None:
    who, ip = strict.person(), strict.address({"too_many_connections": 1})
    async with AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(strict.member(who, ip))
        ninth = await stack.enter_async_context(strict.raw(ip))
        refusal = await ninth.join(json.dumps({"token": who["token"]}))
        assert refusal["code"] == "TOO_MANY_CONNECTIONS"
        assert await ninth.closed() == 4429


async def test_sixteen_connections_of_an_address_may_prove_nothing(strict: Stage) -> None:
    ip = strict.address({"too_many_connections": 2, "auth_required": 16})
    clients = [strict.raw(ip) for _ in range(17)]
    statuses = await asyncio.gather(*(client.status() for client in clients))
    assert statuses == [101] * 17
    assert await asyncio.to_thread(polling_status, strict, ip) == 429
    codes = [await client.closed() for client in clients]
    assert sorted(codes) == [4408] * 16 + [4429]
    assert clients[codes.index(4429)].frames == []


def polling_status(stage: Stage, ip: str) -> int:
    address = f"{stage.hub.url}/socket.io/?EIO=4&transport=polling"
    request = urllib.request.Request(address, headers={"X-Forwarded-For": ip})  # noqa: S310 - the hub's own http address
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            status: int = answer.status
            return status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


async def test_handshakes_of_an_address_are_limited(strict: Stage) -> None:
    ip = strict.address({"rate_limited": 1})
    statuses = []
    while 429 not in statuses and len(statuses) < 60:
        client = strict.raw(ip)
        statuses.append(await client.status())
        await client.close()
    assert statuses[-1] == 429
    assert 30 <= len(statuses) < 60


async def test_a_flood_of_events_is_refused_with_the_exact_count_on_record(strict: Stage) -> None:
    ip = strict.address({})
    async with strict.member(strict.person(), ip) as client:
        await client.send_all(*('42["heartbeat"]' for _ in range(300)))
        answered = ("heartbeat_result", "action_error")
        await client.until(lambda _: sum(len(client.heard(each)) for each in answered) == 300)
        errors = client.heard("action_error")
        assert {each["error"] for each in errors} == {"rate_limited"}
        assert all(each["retry_after_ms"] > 0 for each in errors)
        refused = len(errors)
    strict.expected[ip]["rate_limited"] = refused
    assert refused > 100
    assert strict.await_recorded(ip) == strict.expected[ip]


@pytest.mark.parametrize("frame", ["3", "431[]"], ids=["pongs", "acknowledgements"])
async def test_a_flood_of_what_needs_no_answer_ends_its_connection(
    strict: Stage, frame: str
) -> None:
    ip = strict.address({"malformed": 1})
    async with (
        strict.member(strict.cast["person0"], strict.address({})) as bystander,
        strict.member(strict.person(), ip) as attacker,
    ):
        flood = attacker.send_all(*(frame for _ in range(60_000)))
        code, _ = await asyncio.gather(attacker.closed(), flood)
        assert code in {4400, 1006}  # it may be let go before it has read why
        assert (await bystander.call("heartbeat"))["ok"] is True
    assert strict.await_recorded(ip) == strict.expected[ip]


async def test_leaving_and_joining_again_is_no_way_round_the_rates(strict: Stage) -> None:
    who, ip = strict.person(), strict.address({"too_many_connections": 1})
    auth = json.dumps({"token": who["token"]})
    async with strict.member(who, ip) as client:
        joined = 0
        while client.code is None and joined < 100:
            client.frames.clear()
            await client.send("41")
            session = await client.join(auth)
            joined += "sid" in session
            if "code" in session:
                assert session["code"] == "TOO_MANY_CONNECTIONS"
                assert await client.closed() == 4429
    assert 25 <= joined < 100
    assert strict.await_recorded(ip) == strict.expected[ip]


async def test_an_engine_that_joins_again_may_speak_no_faster(strict: Stage) -> None:
    who, ip = strict.engine(), strict.address({})
    async with strict.member(who, ip) as engine:
        for _ in range(2):
            reports = [json.dumps(["telemetry", engine.sign("telemetry", {})]) for _ in range(30)]
            await engine.send_all(*(f"42/engine,{n}{text}" for n, text in enumerate(reports)))
            answers = [await engine.answer(n, "/engine") for n in range(30)]
            strict.expected[ip]["rate_limited"] += sum(not each["ok"] for each in answers)
            last = answers[-1]
            engine.frames.clear()
            await engine.send("41/engine,")
            engine.session = await engine.join(
                json.dumps({"token": who["token"], "client_nonce": to_base64url(CLIENT_NONCE)}),
                "/engine",
            )
            engine.key = engine.key_for()
        assert last["error"] == "RATE_LIMITED"
        await engine.send('42/engine,99["telemetry",{}]')
        assert (await engine.answer(99, "/engine"))["error"] == "RATE_LIMITED"
    strict.expected[ip]["rate_limited"] += 1
    assert strict.await_recorded(ip) == strict.expected[ip]


async def test_a_flood_of_an_engine_is_refused_unread_with_the_exact_count(strict: Stage) -> None:
    ip = strict.address({})
    async with strict.member(strict.engine(), ip) as engine:
        reports = [json.dumps(["telemetry", engine.sign("telemetry", {})]) for _ in range(100)]
        await engine.send_all(*(f"42/engine,{n}{text}" for n, text in enumerate(reports)))
        answers = [await engine.answer(n, "/engine") for n in range(len(reports))]
        refused = [each for each in answers if not each["ok"]]
        assert {each["error"] for each in refused} == {"RATE_LIMITED"}
        assert all(each["retry_after_ms"] > 0 for each in refused)
    strict.expected[ip]["rate_limited"] = len(refused)
    assert len(refused) > 20
    assert strict.await_recorded(ip) == strict.expected[ip]


async def test_a_spent_budget_closes_and_the_login_rests_but_no_other(strict: Stage) -> None:
    who, elsewhere = strict.cast["person1"], strict.cast["person1-elsewhere"]
    ip = strict.address({"replay_detected": 4, "budget_exceeded": 1, "penalty": 1})
    async with strict.member(who, ip) as attacker:
        envelope = attacker.sign("presence", {"state": "idle"})
        assert (await attacker.act(envelope))["ok"] is True
        for _ in range(4):
            assert (await attacker.act(envelope))["error"] == "replay_detected"
        assert await attacker.closed() == 4429
        assert attacker.heard("goodbye")[0]["retry_after_ms"] >= 60_000
    async with strict.raw(ip) as again:
        refusal = await again.join(json.dumps({"token": who["token"]}))
        assert (refusal["code"], await again.closed()) == ("PENALTY", 4429)
        assert refusal["detail"]["retry_after_ms"] > 50_000
    async with strict.member(elsewhere, strict.address({})) as owner:
        assert (await owner.call("heartbeat"))["ok"] is True


async def test_signatures_for_the_old_socket_are_free_right_after_connect(strict: Stage) -> None:
    ip = strict.address({"invalid_signature": 10})
    async with strict.member(strict.person(), ip) as client:
        for _ in range(10):
            stale = {**client.sign("click"), "sig": "0" * 64}
            assert (await client.act(stale))["error"] == "invalid_signature"
        assert (await client.call("heartbeat"))["ok"] is True


# -- tokens while connected


def expiring(stage: Stage, who: dict[str, Any], in_s: int) -> dict[str, Any]:
    return {**who, "token": stage.token(who, exp=int(time.time()) + in_s)}


async def test_a_token_that_expires_while_idle_ends_the_socket(strict: Stage) -> None:
    who = expiring(strict, strict.person(), 2)
    async with strict.member(who, strict.address({})) as client:
        assert await client.closed() == 4401
        assert client.heard("auth_expiring")
        assert client.heard("auth_expired")
        assert client.heard("goodbye")[0]["code"] == 4401
        assert client.frames[-1] == "41"


async def keep_sending(client: Member) -> None:
    while True:
        assert (await client.call("heartbeat"))["ok"] is True
        await asyncio.sleep(0.02)  # under the rate limit


async def test_a_token_that_expires_while_sending_ends_the_socket(strict: Stage) -> None:
    who = expiring(strict, strict.person(), 2)
    async with strict.member(who, strict.address({})) as client:
        with pytest.raises((ConnectionError, ConnectionClosed)):
            await keep_sending(client)
        assert client.code == 4401


async def test_a_newer_token_of_the_same_login_keeps_the_socket(strict: Stage) -> None:
    who = strict.person()
    async with strict.member(expiring(strict, who, 2), strict.address({})) as client:
        answer = await client.call("reauth", {"token": who["token"]})
        assert answer["ok"] is True
        beating = asyncio.create_task(beat(client))
        await client.until(lambda _frame: client.now_ms() > answer["server_time"] + 2_500)
        beating.cancel()
        assert client.code is None


async def test_nobody_renews_as_somebody_else(strict: Stage) -> None:
    who = strict.cast["person1-elsewhere"]
    expected = {"auth_bypass_attempt": 2, "auth_invalid": 1, "auth_expired": 1}
    ip = strict.address(expected)
    async with strict.member(who, ip) as client:
        others = {
            strict.person()["token"]: "AUTH_INVALID",
            strict.cast["person1"]["token"]: "AUTH_INVALID",
            strict.engine()["token"]: "AUTH_INVALID",
            strict.token(who, exp=int(time.time()) - 1): "AUTH_EXPIRED",
        }
        for token, code in others.items():
            assert (await client.call("reauth", {"token": token}))["error"] == code
        assert (await client.call("heartbeat"))["ok"] is True


async def test_logging_out_ends_the_sockets_of_that_login_within_a_second(strict: Stage) -> None:
    who, other = strict.cast["person0"], strict.cast["person0-elsewhere"]
    async with (
        strict.member(who, strict.address({})) as one,
        strict.member(who, strict.address({})) as two,
        strict.member(other, strict.address({})) as elsewhere,
    ):
        request = urllib.request.Request(  # noqa: S310 - the hub's own http address
            f"{strict.hub.url}/api/token/revoke/",
            data=json.dumps({"refresh": who["refresh"]}).encode(),
            headers={"Content-Type": "application/json"},
        )
        began = time.monotonic()
        answer = await asyncio.to_thread(urllib.request.urlopen, request)
        assert answer.status == 204
        answer.close()
        assert [await one.closed(), await two.closed()] == [4401, 4401]
        assert time.monotonic() - began < 1.0
        assert elsewhere.code is None
    ip = strict.address({"auth_invalid": 1})
    async with strict.raw(ip) as again:
        assert (await again.join(json.dumps({"token": who["token"]})))["code"] == "AUTH_INVALID"


# -- last, because they fill the store and restart the hub


async def test_a_full_nonce_store_refuses_and_forgets_nothing(strict: Stage) -> None:
    ip = strict.address({})
    async with strict.member(strict.person(), ip) as client:
        first = client.sign("presence", {"state": "active"})
        assert (await client.act(first))["ok"] is True
        errors = []
        for _ in range(60):
            errors.append((await client.act(client.sign("emote"))).get("error"))  # noqa: PERF401 - awaited one by one
        assert errors[-1] == "try_again"
        assert (await client.act(first))["error"] == "replay_detected"
    strict.expected[ip].update({"try_again": errors.count("try_again"), "replay_detected": 1})
    assert strict.await_recorded(ip) == strict.expected[ip]


async def test_a_restart_of_the_hub_accepts_no_replay(strict: Stage) -> None:
    who, ip = strict.person(), strict.address({"invalid_signature": 1})
    async with strict.member(who, strict.address({})) as client:
        captured = client.sign("room_leave", {"room": "lobby"})
    await asyncio.to_thread(strict.hub.stop)
    await asyncio.to_thread(strict.hub.start)
    async with strict.member(who, ip) as client:
        assert (await client.act(captured))["error"] == "invalid_signature"
        assert (await client.act(client.sign("click")))["ok"] is True


async def test_the_books_are_right(strict: Stage) -> None:
    assert strict.differences() == {}
    strict.assert_clean(strict.hub.output)
