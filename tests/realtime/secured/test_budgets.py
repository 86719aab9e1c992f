"""Rates, budgets and penalties: who sends too much waits, and who goes on is kept out."""

import asyncio
from collections.abc import Callable

from security.refusals import Refused
from tests.realtime.guarded import Bench, Peer


async def test_what_the_bucket_refuses_is_rate_limited_and_never_read(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(messages_per_s=1.0, message_burst=2)
    peer = await bench.joined()
    answers = [await peer.call("action", "{") for _ in range(2)]
    assert [each["error"] for each in answers] == ["malformed"] * 2
    late = await peer.call("action", "{")
    assert (late["error"], late["retry_after_ms"]) == ("rate_limited", 1_000)
    await bench.advance(1.0)
    assert (await peer.act("click"))["ok"] is True


async def test_bytes_are_limited_as_well(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(bytes_per_s=100.0, byte_burst=2_000)
    peer = await bench.joined()
    peer.send("3" * 1 + "x" * 1_800)
    assert (await peer.call("action", "x" * 300))["error"] == "rate_limited"


async def test_a_spent_budget_says_goodbye_closes_and_keeps_the_session_out(bench: Bench) -> None:
    peer, other = await bench.joined(), await bench.joined("grace")
    envelope = peer.sign("click")
    await peer.call("action", envelope)
    answers = [(await peer.call("action", envelope)).get("error") for _ in range(4)]
    assert answers == ["replay_detected"] * 4
    assert peer.wires.code == 4429
    assert peer.heard("goodbye")[0]["retry_after_ms"] >= 60_000
    assert bench.kinds() == ["replay_detected"] * 4 + ["budget_exceeded"]
    again = bench.peer()
    refusal = await again.connect()
    assert refusal["message"] == "PENALTY"
    assert refusal["data"]["detail"]["retry_after_ms"] == 60_000
    bench.add("ada-elsewhere", 1, session="another-login")
    assert (await bench.peer().connect("ada-elsewhere"))["principal"] == "user:1"
    assert other.wires.code is None
    await bench.advance(60.0)
    assert (await bench.peer().connect("ada"))["principal"] == "user:1"


class Elsewhere:
    """Penalties that another process may know of, and that take a while to answer."""

    def __init__(self, rest_ms: int) -> None:
        self.rest_ms = rest_ms

    def punish(self, key: object, *, until: float) -> None:
        raise AssertionError(key, until)

    async def is_penalised(self, key: object, _now: float) -> int:
        assert key == "session-ada"
        await asyncio.sleep(0)
        return self.rest_ms


async def test_a_penalty_earned_at_another_process_holds_here(
    make_bench: Callable[..., Bench],
) -> None:
    refusal = await make_bench(penalties=Elsewhere(700)).peer().connect("ada")
    assert refusal["data"]["code"] == "PENALTY"
    assert refusal["data"]["detail"]["retry_after_ms"] == 700
    assert (await make_bench(penalties=Elsewhere(0)).peer().connect("ada"))["role"] == "user"


async def rejoined(peer: Peer, who: str = "ada") -> bool:
    """Leave and CONNECT again, on the same connection."""
    peer.send("41")
    peer.wires.frames.clear()
    return "sid" in await peer.connect(who)


async def test_joining_again_counts_as_a_connection_of_the_address(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(handshakes_per_s=1.0, handshake_burst=3)
    peer, other = await bench.joined(), await bench.joined("grace", peer="192.0.2.2")
    assert [await rejoined(peer) for _ in range(4)] == [True, True, True, False]
    assert (bench.kinds(), peer.wires.code) == (["too_many_connections"], 4429)
    assert bench.incidents[0].detail == {"reason": "connects"}
    assert await rejoined(other, "grace")


async def test_joining_again_may_be_counted_together_with_other_processes(
    make_bench: Callable[..., Bench],
) -> None:
    rates = Rates(700)
    peer = await make_bench(handshakes=rates).joined()
    peer.send("41")
    peer.wires.frames.clear()
    refusal = (await peer.connect("ada"))["data"]
    assert rates.asked == ["192.0.2.1"]
    assert refusal["code"] == "TOO_MANY_CONNECTIONS"
    assert refusal["detail"] == {"retry_after_ms": 700}


class Rates:
    """Handshakes that are counted elsewhere, and take a while."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        self.asked: list[str | None] = []

    async def take(self, ip: str | None, _now: float) -> int:
        self.asked.append(ip)
        await asyncio.sleep(0)
        return self.wait_ms


async def test_what_is_still_refused_after_the_close_spends_no_budget_twice(bench: Bench) -> None:
    peer = await bench.joined()
    socket = peer.session.sockets["/"]
    peer.lose()
    for _ in range(5):
        await bench.hub._refuse(socket, Refused("replay_detected"), "action", None)
    assert bench.kinds() == ["replay_detected"] * 5


async def test_the_goodbye_of_a_spent_budget_names_the_penalty_and_no_other_does(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(penalty_s=600.0)
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    peer.session.close(4429)
    other.session.close(1012)
    assert peer.heard("goodbye")[0]["retry_after_ms"] >= 600_000
    assert other.heard("goodbye")[0]["retry_after_ms"] < 600_000
