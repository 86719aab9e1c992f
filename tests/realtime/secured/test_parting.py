"""How a socket ends: what it gives back, what is on record, and who may not stay."""

import pytest

from tests.realtime.guarded import Bench, settle


async def test_who_leaves_gives_everything_back(bench: Bench) -> None:
    peer = await bench.joined()
    seat = peer.session.sockets["/"].state
    peer.lose()
    await settle()
    assert seat.timers == {}
    assert len(bench.guard.roster) == 0
    assert [action for action, _ in bench.audited] == ["socket_connected", "socket_disconnected"]


@pytest.mark.parametrize(("peer", "ip"), [("192.0.2.9", "192.0.2.9"), (None, None)])
async def test_the_audit_names_the_address_where_there_is_one(
    bench: Bench, peer: str | None, ip: str | None
) -> None:
    await bench.joined("ada", peer=peer)
    assert bench.audited[0][1]["ip"] == ip


async def test_a_connection_on_which_nothing_is_joined_any_more_may_not_stay(bench: Bench) -> None:
    peer = await bench.joined()
    peer.send("41")
    await bench.advance(4.9)
    assert peer.wires.code is None
    await bench.advance(0.1)
    assert peer.wires.code == 4408


async def test_who_joins_again_in_time_may_stay(bench: Bench) -> None:
    peer = await bench.joined()
    peer.send("41")
    await settle()
    await peer.connect()
    await bench.advance(5.0)
    assert peer.wires.code is None


async def test_returns_are_spread_over_longer_the_more_are_sent_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.goodbye.random.random", lambda: 0.5)
    pauses = []
    for crowd in (0, 1_000, 1_000_000):
        peer = await bench.joined()
        peer.session.node.crowd = crowd
        peer.session.close(1012)
        pauses.append(peer.heard("goodbye")[0]["retry_after_ms"])
    assert pauses == [500 + 500, 500 + 2_500, 500 + 15_000]
