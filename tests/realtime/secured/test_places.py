"""Each person has so many places, which are counted in one step and given back whatever happens."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.attendance import Attendance
from realtime.namespaces import Socket
from security.refusals import Refused
from tests.realtime.guarded import Bench, Gates, settle


async def test_a_ninth_socket_is_refused_and_a_place_that_was_left_is_free(bench: Bench) -> None:
    peers = [await bench.joined() for _ in range(8)]
    ninth = bench.peer()
    assert (await ninth.connect())["message"] == "TOO_MANY_CONNECTIONS"
    assert (ninth.wires.code, bench.kinds()) == (4429, ["too_many_connections"])
    assert (await bench.peer().connect("grace"))["principal"] == "user:2"
    peers[0].lose()
    assert (await bench.peer().connect())["principal"] == "user:1"


async def test_a_services_sockets_count_by_token_so_a_stolen_one_locks_nobody_out(
    bench: Bench,
) -> None:
    engine: dict[str, Any] = {"kind": "engine", "subject": "e1", "session_id": ""}
    bench.renew("stolen", of="ada", token_id="t1", **engine)
    bench.renew("fresh", of="ada", token_id="t2", **engine)
    hub = bench.hub
    for _ in range(8):
        socket: Any = Socket(hub, bench.peer().session, "x")
        socket.state = SimpleNamespace(principal=bench.people["stolen"])
        bench.guard.roster.add("engine:e1", socket)
    with pytest.raises(Refused, match="TOO_MANY_CONNECTIONS"):
        hub.admit(socket, bench.people["stolen"])
    hub.admit(socket, bench.people["fresh"])


class Places:
    """The places of a person as all processes count them."""

    def __init__(self, patch: pytest.MonkeyPatch, bench: Bench) -> None:
        self.full = False
        self.held: list[tuple[str, str]] = []
        patch.setattr(bench.guard.processes, "claim", self.claim)
        patch.setattr(bench.guard.processes, "free", lambda *place: self.held.remove(place))

    async def claim(self, topic: str, name: str, *, limit: int) -> bool:
        assert limit == 8
        await asyncio.sleep(0)
        if not self.full:
            self.held.append((topic, name))
        return not self.full


async def test_a_place_is_held_at_all_processes_as_long_as_the_socket_lives(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    peer = bench.peer()
    session = await peer.connect()
    assert places.held == [("sockets:user:1", session["sid"])]
    peer.lose()
    assert places.held == []


async def test_who_finds_no_place_at_any_process_does_not_come_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    places.full = True
    assert (await bench.peer().connect())["message"] == "TOO_MANY_CONNECTIONS"
    assert (bench.kinds(), len(bench.guard.roster)) == (["too_many_connections"], 0)


async def test_whose_login_ends_while_a_place_is_taken_gives_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    monkeypatch.setattr(bench.guard.roster, "ended_since", lambda *_who: True)
    assert (await bench.peer().connect())["message"] == "AUTH_INVALID"
    assert places.held == []


async def test_who_leaves_while_a_place_is_taken_gives_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await asyncio.sleep(0)
    peer.lose()
    await settle()
    assert places.held == []


async def test_places_are_taken_and_counted_in_one_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    peers = [bench.peer() for _ in range(12)]
    for peer in peers:
        peer.send('40{"token":"ada"}')
    await settle()
    assert gates.asked == 12
    gates.opened.set()
    await settle()
    assert len(bench.guard.roster.of("user:1")) == 8
    assert bench.kinds() == ["too_many_connections"] * 4


async def test_who_leaves_while_being_authorized_holds_no_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await settle()
    peer.lose()
    gates.opened.set()
    await settle()
    assert len(bench.guard.roster) == 0
    assert bench.audited == []


class Stopped:
    """Joining waits here, after the CONNECT reply."""

    def __init__(self, patch: pytest.MonkeyPatch, bench: Bench) -> None:
        self.opened = asyncio.Event()
        begin = bench.hub.feed.begin

        async def wait(*args: Any) -> Any:
            await self.opened.wait()
            return await begin(*args)

        patch.setattr(bench.hub.feed, "begin", wait)


async def test_who_leaves_while_joining_leaves_no_ghost_and_no_timer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch, bench)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await settle()
    peer.lose()
    stopped.opened.set()
    await settle()
    attendance: Attendance = bench.hub.attendance
    assert (bench.hub.crowd._halls, attendance._beats, attendance._presence) == ({}, {}, {})
    assert bench.hub.feed._followers == {}
    assert len(bench.guard.roster) == 0
    await bench.advance(10_000)
    assert bench.incidents == []
