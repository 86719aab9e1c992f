"""Presence by heartbeats: who is shown how, told in how many messages, and that nothing is kept."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.realtime.guarded import Bench, Peer


def diffs(peer: Peer, key: str) -> list[tuple[str, str]]:
    return [
        (each["user_id"], each["state"])
        for diff in peer.heard("presence_diff")
        for each in diff[key]
    ]


def attendance(bench: Bench) -> Any:
    return bench.hub.attendance


async def test_a_thousand_arrivals_are_told_in_four_diffs_a_second(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(sockets_per_user=10_000)
    watcher = await bench.joined("grace")
    await bench.advance(1)
    before = len(watcher.heard("presence_diff"))
    for number in range(100):
        bench.add(f"p{number}", 100 + number)
        await bench.joined(f"p{number}")
        bench.time.advance(0.01)
    await bench.advance(0.3)
    assert len(watcher.heard("presence_diff")) - before <= 5
    assert len(diffs(watcher, "joins")) == 101


async def test_a_person_with_two_sockets_is_one_member(bench: Bench) -> None:
    watcher, one = await bench.joined("grace"), await bench.joined("ada")
    await bench.joined("ada")
    await bench.advance(0.3)
    one.lose()
    await bench.advance(0.3)
    assert diffs(watcher, "leaves") == []
    assert watcher.heard("presence_diff")[-1]["changes"][0]["sockets"] == 1


async def test_a_heartbeat_brings_an_inactive_person_back(bench: Bench) -> None:
    watcher, peer = await bench.joined("grace"), await bench.joined("ada")
    await bench.advance(29)
    await watcher.call("heartbeat")
    await bench.advance(2)
    await peer.call("heartbeat")
    await bench.advance(0.3)
    assert diffs(watcher, "changes") == [("1", "inactive"), ("1", "active")]


async def test_an_idle_person_whose_heart_beats_stays_idle(bench: Bench) -> None:
    watcher, peer = await bench.joined("grace"), await bench.joined("ada")
    await peer.act("presence", {"state": "idle"})
    for _ in range(5):
        await bench.advance(10)
        for each in (watcher, peer):
            await each.call("heartbeat")
    assert diffs(watcher, "changes") == []
    assert diffs(watcher, "joins")[-1] == ("1", "idle")


async def test_heartbeats_count_from_the_last_one(bench: Bench) -> None:
    peer = await bench.joined()
    await bench.advance(25)
    await peer.call("heartbeat")
    await bench.advance(29.9)
    assert attendance(bench)._presence[peer.session.sockets["/"]].state == "active"
    await bench.advance(0.1)
    assert attendance(bench)._presence[peer.session.sockets["/"]].state == "inactive"
    await bench.advance(59.9)
    assert peer.wires.code is None
    await bench.advance(0.1)
    assert peer.wires.code == 4408


async def test_people_cost_no_task_and_their_deadlines_one_alarm(bench: Bench) -> None:
    tasks = len(asyncio.all_tasks())
    for number in range(30):
        bench.add(f"p{number}", 100 + number)
        await bench.joined(f"p{number}")
    assert len(asyncio.all_tasks()) == tasks
    assert len(bench.node.timers) >= 30
    assert len(bench.time._alarms) == 1


@pytest.mark.parametrize(
    ("agent", "device"),
    [("Mozilla/5.0 (iPhone)", "mobile"), ("Mozilla/5.0 (X11)", "desktop"), ("", "desktop")],
)
async def test_the_device_comes_from_the_browser(bench: Bench, agent: str, device: str) -> None:
    peer = await bench.joined(headers={"host": "testserver", "user-agent": agent})
    assert peer.heard("presence_state")[0][0]["device"] == device


async def test_nothing_is_kept_of_those_who_left(bench: Bench) -> None:
    for _ in range(20):
        peer = await bench.joined()
        await peer.act("room_join", {"room": "garden"})
        peer.lose()
    await bench.advance(0.3)
    kept, crowd = attendance(bench), bench.hub.crowd
    assert (kept._beats, kept._presence, kept._places) == ({}, {}, {})
    assert (crowd._halls, crowd._dirty, crowd._untold) == ({}, set(), {})


async def test_strangers_are_ignored(bench: Bench) -> None:
    peer = await bench.joined()
    socket = peer.session.sockets["/"]
    peer.lose()
    await bench.advance(1)
    kept = attendance(bench)
    kept.beat(socket)
    kept.say(socket, "idle")
    kept.leave(socket, "lobby")
    kept.depart(socket)
    assert kept.enter(socket, "lobby") == "[]"
    await bench.advance(1)
    assert (bench.hub.crowd._halls, kept._beats) == ({}, {})
