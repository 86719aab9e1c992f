"""``security_notice``: to the person concerned and to staff, in few messages, from any thread."""

import threading

import pytest

from realtime import notices
from security import violations
from security.violations import Incident
from tests.realtime.guarded import Bench, Peer, settle


def incident(kind: str = "replay_detected", user_id: int | None = 1) -> Incident:
    return Incident(kind=kind, code="replay_detected", user_id=user_id)


def told(peer: Peer) -> list[tuple[str, int]]:
    return [(each["kind"], each["count"]) for each in peer.heard("security_notice")]


async def test_the_person_and_staff_are_told_and_nobody_else(bench: Bench) -> None:
    ada, grace, admin = [await bench.joined(who) for who in ("ada", "grace", "admin")]
    for _ in range(3):
        bench.hub.notices._hear(incident())
    bench.hub.notices._hear(incident(user_id=None))
    await settle()
    assert told(ada) == []
    await bench.advance(1)
    assert told(ada) == [("replay_detected", 3)]
    assert told(admin) == [("replay_detected", 4)]
    assert told(grace) == []
    assert ada.heard("security_notice")[0].keys() == {"kind", "message", "count", "since"}


async def test_each_second_tells_what_is_new(bench: Bench) -> None:
    ada = await bench.joined("ada")
    for _ in range(2):
        bench.hub.notices._hear(incident())
        await settle()
        await bench.advance(1)
    await bench.advance(5)
    assert told(ada) == [("replay_detected", 1)] * 2


async def test_a_flood_from_many_threads_is_one_call_of_the_loop_and_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, calls = await bench.joined("ada"), []
    soon = bench.node.loop.call_soon_threadsafe
    monkeypatch.setattr(
        bench.node.loop, "call_soon_threadsafe", lambda call: (calls.append(call), soon(call))
    )

    def flood() -> None:
        for _ in range(2_000):
            bench.hub.notices._hear(incident())

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    await settle()
    bench.time.advance(1)
    assert len(calls) == 1
    assert told(ada) == [("replay_detected", 8_000)]


async def test_staff_hear_of_a_new_kind_even_in_a_crowd(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PAIRS_HELD", 10)
    admin = await bench.joined("admin")
    for user in range(100):
        bench.hub.notices._hear(incident(user_id=1_000 + user))
    bench.hub.notices._hear(incident(kind="malformed", user_id=500))
    assert len(bench.hub.notices._pending) <= 12
    await settle()
    await bench.advance(1)
    assert told(admin) == [("replay_detected", 100), ("malformed", 1)]


async def test_it_listens_while_the_process_lives(bench: Bench) -> None:
    assert bench.hub.notices._hear in violations._listeners
    bench.hub.notices.start(bench.node)
    assert violations._listeners.count(bench.hub.notices._hear) == 1
    bench.hub.notices.stop()
    bench.hub.notices.stop()
    assert bench.hub.notices._hear not in violations._listeners
