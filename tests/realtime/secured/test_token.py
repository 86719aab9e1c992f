"""A socket lives as long as its token, and a newer one of the same identity prolongs it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.realtime.guarded import Bench, Gates, settle


async def test_a_token_is_warned_of_a_minute_before_and_closed_at_its_expiry(bench: Bench) -> None:
    peer = await bench.joined()
    beat = asyncio.create_task(beating(bench, peer, 239))
    await beat
    assert peer.heard("auth_expiring") == []
    await bench.advance(1)
    assert peer.heard("auth_expiring")[0]["token_expires_at"] == bench.people["ada"].expires_at
    await beating(bench, peer, 59)
    assert peer.wires.code is None
    await bench.advance(1)
    assert len(peer.heard("auth_expired")) == 1
    assert peer.heard("goodbye")[0]["code"] == peer.wires.code == 4401
    assert peer.texts()[-1] == "41"
    assert bench.incidents == []


async def beating(bench: Bench, peer: Any, seconds: int) -> None:
    for _ in range(seconds):
        await bench.advance(1)
        await peer.call("heartbeat")


async def test_a_message_after_the_expiry_is_refused_even_if_no_timer_rang(bench: Bench) -> None:
    peer = await bench.joined()
    bench.time.now += 300  # as after a pause of the whole process
    answer = await peer.act("click")
    assert (answer["error"], bench.kinds()) == ("auth_expired", ["auth_expired"])
    assert peer.wires.code == 4401


async def test_reauth_moves_the_expiry_for_the_same_identity(bench: Bench) -> None:
    peer = await bench.joined()
    await beating(bench, peer, 200)
    later = bench.time.now_ms() + 300_000
    bench.renew("newer", of="ada", expires_at=later)
    assert (await peer.call("reauth", {"token": "newer"}))["token_expires_at"] == later
    await beating(bench, peer, 250)
    assert peer.wires.code is None
    assert len(peer.heard("auth_expiring")) == 1


@pytest.mark.parametrize(
    "changes",
    [{"subject": "2"}, {"role": "staff"}, {"session_id": "another"}, {"kind": "engine"}],
)
async def test_reauth_as_somebody_else_is_an_attempt_to_bypass(
    bench: Bench, changes: dict[str, Any]
) -> None:
    peer = await bench.joined()
    bench.renew("other", of="ada", **changes)
    assert (await peer.call("reauth", {"token": "other"}))["error"] == "AUTH_INVALID"
    assert bench.kinds() == ["auth_bypass_attempt"]
    seat = bench.hub.node.sessions[peer.session.id].sockets["/"].state
    assert seat.principal == bench.people["ada"]


async def test_reauth_of_a_login_that_ends_meanwhile_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await bench.joined()
    gates = Gates(monkeypatch)
    waiting = asyncio.create_task(peer.call("reauth", {"token": "ada"}))
    await settle()
    bench.guard.roster.end("user:1", None, now=bench.node.now())
    gates.opened.set()
    await waiting
    await settle()
    assert peer.answer(0)["error"] == "AUTH_INVALID"


async def test_reauth_of_a_socket_that_left_meanwhile_starts_no_timer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await bench.joined()
    gates = Gates(monkeypatch)
    waiting = asyncio.create_task(peer.call("reauth", {"token": "ada"}))
    await settle()
    seat = peer.session.sockets["/"].state
    peer.lose()
    gates.opened.set()
    await waiting
    await settle()
    assert seat.timers == {}


async def test_a_socket_grows_no_older_than_its_longest_life(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(socket_life_s=120)
    peer = await bench.joined()
    await beating(bench, peer, 119)
    assert peer.wires.code is None
    await bench.advance(1)
    assert (peer.wires.code, peer.heard("goodbye")[0]["reason"]) == (4401, "age")
