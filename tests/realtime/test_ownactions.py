"""Interactions, presence and rooms, as actions."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from realtime.actions import INTERACTIONS
from tests.realtime.guarded import Bench, Peer


def lists(peer: Peer) -> list[list[str]]:
    """The user ids of each ``presence_state`` that was received."""
    return [[each["user_id"] for each in body] for body in peer.heard("presence_state")]


@pytest.mark.parametrize("kind", sorted(INTERACTIONS))
async def test_every_interaction_reaches_the_others(bench: Bench, kind: str) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    assert (await peer.act(kind, {"a": 1}))["ok"] is True
    assert other.heard("action_update")[0]["type"] == kind


async def test_an_interaction_needs_no_payload(bench: Bench) -> None:
    assert (await (await bench.joined()).act("click", None))["ok"] is True


@pytest.mark.parametrize("payload", [1, "text", [], True])
async def test_a_payload_that_is_no_object_is_refused(bench: Bench, payload: object) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    assert (await peer.act("click", payload))["error"] == "payload_invalid"
    assert other.heard("action_update") == []


HOSTILE_TEXT = "<script>alert(1)</script>\u202e\u001b[31m\r\n=cmd()"


async def test_text_passes_as_data(bench: Bench) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    assert (await peer.act("speak", {"text": HOSTILE_TEXT}))["ok"] is True
    assert other.heard("action_update")[0]["payload"] == {"text": HOSTILE_TEXT}


async def test_people_say_that_they_are_idle_and_active(bench: Bench) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    await bench.advance(1)
    for state in ("idle", "active"):
        assert (await peer.act("presence", {"state": state}))["state"] == state
        await bench.advance(0.3)
    states = [each["state"] for diff in other.heard("presence_diff") for each in diff["changes"]]
    assert states == ["idle", "active"]


@pytest.mark.parametrize(
    "payload",
    [None, {}, [], {"state": "inactive"}, {"state": "disconnected"}, {"state": ["idle"]},
     {"state": None}, {"state": "idle", "user_id": "2"}],
)  # fmt: skip
async def test_no_other_state_can_be_said(bench: Bench, payload: object) -> None:
    assert (await (await bench.joined()).act("presence", payload))["error"] == "payload_invalid"


# -- rooms


async def test_who_joins_a_room_is_sent_its_list_and_shown_to_the_others(bench: Bench) -> None:
    first, second = await bench.joined("ada"), await bench.joined("grace")
    await first.act("room_join", {"room": "garden"})
    assert (await second.act("room_join", {"room": "garden"}))["room"] == "garden"
    assert lists(second) == [["1", "2"], ["1", "2"]]
    await bench.advance(0.3)
    joins = [
        (diff["room"], each["user_id"])
        for diff in first.heard("presence_diff")
        for each in diff["joins"]
        if diff["room"] == "garden"
    ]
    assert joins == [("garden", "1"), ("garden", "2")]


async def test_who_leaves_a_room_is_gone_from_it_only(bench: Bench) -> None:
    stays, leaves = await bench.joined("ada"), await bench.joined("grace")
    for peer in (stays, leaves):
        await peer.act("room_join", {"room": "garden"})
    await bench.advance(0.3)
    assert (await leaves.act("room_leave", {"room": "garden"}))["ok"] is True
    await bench.advance(0.3)
    diff = stays.heard("presence_diff")[-1]
    assert (diff["room"], [each["user_id"] for each in diff["leaves"]]) == ("garden", ["2"])
    await stays.act("click")
    assert [each["room"] for each in leaves.heard("action_update")] == ["lobby"]


async def test_joining_twice_is_once(bench: Bench) -> None:
    peer = await bench.joined()
    for _ in range(2):
        assert (await peer.act("room_join", {"room": "garden"}))["ok"] is True
    assert len(lists(peer)) == 2


async def test_a_room_where_one_is_not_cannot_be_left(bench: Bench) -> None:
    assert (await (await bench.joined()).act("room_leave", {"room": "x"}))["error"] == "not_found"


async def test_rooms_of_a_socket_are_limited_and_leaving_makes_place(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(rooms_per_socket=3)
    peer = await bench.joined()
    answers = [await peer.act("room_join", {"room": f"r{number}"}) for number in range(3)]
    assert [each.get("error") for each in answers] == [None, None, "quota_exceeded"]
    await peer.act("room_leave", {"room": "lobby"})
    assert (await peer.act("room_join", {"room": "r9"}))["ok"] is True


async def test_the_permission_hook_decides_and_costs_points(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(options={"may_enter": lambda who, room: who.is_staff or room != "cellar"})
    ada, admin = await bench.joined("ada"), await bench.joined("admin")
    assert (await ada.act("room_join", {"room": "cellar"}))["error"] == "forbidden"
    assert (await ada.act("room_join", {"room": "garden"}))["ok"] is True
    assert (await admin.act("room_join", {"room": "cellar"}))["ok"] is True
    assert (bench.incidents[0].event_type, bench.incidents[0].detail["room"]) == (
        "room_join",
        "cellar",
    )


BAD_ROOMS: list[Any] = [
    None, 1, [], {}, "", "A", "caf\u00e9", "a b", "a\n", "hub:staff", "hub:user:2", "../x",
    "x" * 65,
]  # fmt: skip


@pytest.mark.parametrize("room", BAD_ROOMS)
@pytest.mark.parametrize("kind", ["room_join", "room_leave"])
async def test_rooms_of_the_hub_itself_and_odd_names_are_no_rooms(
    bench: Bench, kind: str, room: object
) -> None:
    peer = await bench.joined()
    before = set(peer.session.sockets["/"].rooms)
    assert (await peer.act(kind, {"room": room}))["error"] == "payload_invalid"
    assert set(peer.session.sockets["/"].rooms) == before


@pytest.mark.parametrize("payload", [None, [], "garden", {}, {"room": "a", "as": "staff"}])
async def test_the_payload_is_one_room(bench: Bench, payload: object) -> None:
    peer = await bench.joined()
    assert (await peer.act("room_join", json.dumps(payload)))["error"] == "payload_invalid"
