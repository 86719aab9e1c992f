"""The pump: every follower gets what follows its place, in order, once, whatever hints get lost."""

from typing import Any

import pytest

from tests.realtime.guarded import Bench, Peer, settle


def seen(peer: Peer) -> list[int]:
    return [each["seq"] for each in peer.heard("build_status")]


async def test_a_lost_hint_is_repaired_by_asking(bench: Bench) -> None:
    peer = await bench.joined("ada")
    bench.shelf.append(1, "build_status")
    await settle()
    assert seen(peer) == []
    await bench.advance(2)
    assert seen(peer) == [1]


async def test_hints_in_any_order_bring_each_event_once_and_in_order(bench: Bench) -> None:
    peer = await bench.joined("ada")
    for _ in range(5):
        bench.shelf.append(1, "build_status")
    for head in (3, 1, 5, 5, 2):
        bench.hub.feed.publish({1: head})
    await settle()
    assert seen(peer) == [1, 2, 3, 4, 5]


async def test_more_than_a_page_is_read_page_by_page(bench: Bench) -> None:
    for _ in range(250):
        bench.shelf.append(1, "build_status")
    peer = bench.peer()
    await peer.connect("ada", feed={"epoch": "epoch-1", "after": 0})
    await settle()
    assert seen(peer) == list(range(1, 251))


async def test_what_was_missed_is_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        bench.shelf.append(1, "build_status")
    source, asked = bench.hub.feed.source, list[int]()
    read = source.read

    def counted(user_id: int, epoch: str | None, after: int, limit: int = 500) -> Any:
        asked.append(after)
        return read(user_id, epoch, after, limit)

    monkeypatch.setattr(source, "read", counted)
    peer = bench.peer()
    await peer.connect("ada", feed={"epoch": "epoch-1", "after": 1})
    await settle()
    assert (seen(peer), asked) == ([2, 3], [1])
    bench.hub.feed.publish({1: bench.shelf.append(1, "build_status")})
    await settle()
    assert (seen(peer), asked) == ([2, 3, 4], [1, 3])


async def test_nobody_gets_what_is_anothers(bench: Bench) -> None:
    ada, grace = await bench.joined("ada"), await bench.joined("grace")
    bench.hub.feed.publish({1: bench.shelf.append(1, "build_status")})
    await settle()
    assert (seen(ada), seen(grace)) == ([1], [])


async def test_a_hint_that_promised_too_much_does_no_harm(bench: Bench) -> None:
    peer = await bench.joined("ada")
    bench.hub.feed.publish({1: 7})
    await settle()
    bench.hub.feed.publish({1: bench.shelf.append(1, "build_status")})
    await settle()
    assert seen(peer) == [1]


async def test_a_new_epoch_brings_a_snapshot_and_goes_on_from_there(bench: Bench) -> None:
    peer = await bench.joined("ada")
    bench.shelf.append(1, "build_status")
    await bench.advance(2)
    bench.shelf.epoch = "epoch-2"
    await bench.advance(2)
    assert [each["epoch"] for each in peer.heard("feed_snapshot")] == ["epoch-2"]
    bench.hub.feed.publish({1: bench.shelf.append(1, "build_status")})
    await settle()
    assert seen(peer) == [1, 2]


async def test_hints_of_other_processes_are_heard(bench: Bench) -> None:
    peer = await bench.joined("ada")
    head = bench.shelf.append(1, "build_status")
    bench.node.bus._deliver({"topic": "feed", "origin": "x", "body": {"heads": {"1": head}}})
    await settle()
    assert seen(peer) == [1]


async def test_a_failing_read_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = await bench.joined("ada")
    read, failed = bench.shelf.read, []

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        if not failed:
            failed.append(1)
            raise TimeoutError
        return read(*args, **kwargs)

    monkeypatch.setattr(bench.shelf, "read", fail_once)
    bench.hub.feed.publish({1: bench.shelf.append(1, "build_status")})
    await settle()
    await bench.advance(2)
    assert seen(peer) == [1]


async def test_who_left_is_followed_no_more(bench: Bench) -> None:
    peer = await bench.joined("ada")
    peer.lose()
    await settle()
    assert bench.hub.feed._followers == {}
