"""The "/" namespace: what people see of each other, of their feed, and of refusals."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from realtime.actions import Action, ActionType
from realtime.hub import EVERYBODY, STAFF, user_room
from security import database
from security.gate import PayloadRule
from security.refusals import Refused
from tests.realtime.guarded import Bench, LateNonces, Peer, settle


def rooms(peer: Peer) -> set[str]:
    return set(peer.session.sockets["/"].rooms)


async def test_a_newcomer_is_told_session_then_presence_then_the_greetings(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    bench.hub._greetings = {"engine_status": database.SharedRead(lambda: {"online": False})}
    peer = await bench.joined()
    names = [frame.split('"')[1] for frame in peer.texts()[2:]]
    assert names == ["session", "presence_state", "engine_status"]


async def test_session_names_the_person_the_heartbeat_and_the_place_in_the_feed(
    bench: Bench,
) -> None:
    bench.shelf.append(1, "build_status")
    session = await bench.peer().connect("ada")
    assert (session["user_id"], session["username"]) == ("1", "ada")
    assert session["heartbeat"] == {
        "interval_ms": 10_000,
        "inactive_after_ms": 30_000,
        "disconnect_after_ms": 90_000,
    }
    assert session["feed"] == {"epoch": "epoch-1", "head": 1, "recovered": False}


async def test_people_are_in_their_own_room_and_staff_in_that_of_staff(bench: Bench) -> None:
    assert rooms(await bench.joined("ada")) == {"lobby", EVERYBODY, user_room("1")}
    assert rooms(await bench.joined("admin")) == {"lobby", EVERYBODY, user_room("3"), STAFF}


async def test_missed_events_follow_session_and_come_before_live_ones(bench: Bench) -> None:
    for _ in range(3):
        bench.shelf.append(1, "build_status")
    peer = bench.peer()
    session = await peer.connect("ada", feed={"epoch": "epoch-1", "after": 1})
    assert session["feed"]["recovered"] is True
    assert [each["seq"] for each in peer.heard("build_status")] == [2, 3]
    bench.hub.feed.publish({1: bench.shelf.append(1, "build_status")})
    await settle()
    assert [each["seq"] for each in peer.heard("build_status")] == [2, 3, 4]


@pytest.mark.parametrize("asked", [{"epoch": "old", "after": 1}, {"epoch": "epoch-1", "after": 99}])
async def test_a_place_that_nothing_can_follow_brings_one_snapshot(
    bench: Bench, asked: dict[str, Any]
) -> None:
    bench.shelf.append(1, "build_status")
    peer = bench.peer()
    session = await peer.connect("ada", feed=asked)
    assert session["feed"]["recovered"] is False
    assert peer.heard("feed_snapshot") == [{"epoch": "epoch-1", "head": 1, "builds": []}]
    assert peer.heard("build_status") == []


async def test_a_page_of_the_feed_is_ones_own_only(bench: Bench) -> None:
    bench.shelf.append(1, "build_status")
    bench.shelf.append(2, "build_status")
    bench.shelf.append(2, "build_status")
    page = await (await bench.joined("ada")).call("feed", {"after": 0})
    assert (page["head"], page["recovered"], len(page["events"])) == (1, True, 1)
    assert page["events"][0] == {"seq": 1, "event": "build_status", "data": {"seq": 1}}


async def test_a_heartbeat_is_answered_by_the_hubs_time(bench: Bench) -> None:
    peer = await bench.joined()
    await bench.advance(1)
    answer = await peer.call("heartbeat", {"ts": 5})
    assert answer == {"ok": True, "server_time": bench.time.now_ms()}
    assert peer.heard("heartbeat_result") == [answer]
    assert (await peer.call("heartbeat"))["ok"] is True


async def test_silence_shows_inactive_then_ends_the_socket_on_record(bench: Bench) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    for _ in range(3):
        await bench.advance(10)
        await other.call("heartbeat")
    await bench.advance(0.3)
    changes = [each for diff in other.heard("presence_diff") for each in diff["changes"]]
    assert [(each["user_id"], each["state"]) for each in changes] == [("1", "inactive")]
    for _ in range(6):
        await bench.advance(10)
        await other.call("heartbeat")
    assert (peer.wires.code, other.wires.code) == (4408, None)
    assert bench.kinds() == ["heartbeat_missing"]
    assert bench.incidents[0].principal == "user:1"
    leaves = [each for diff in other.heard("presence_diff") for each in diff["leaves"]]
    assert [(each["user_id"], each["state"]) for each in leaves] == [("1", "disconnected")]


async def test_an_action_goes_to_the_rooms_once_and_never_back(bench: Bench) -> None:
    sender, own, other = (
        await bench.joined("ada"),
        await bench.joined("ada"),
        await bench.joined("grace"),
    )
    answer = await sender.act("click", {"x": 1})
    assert sender.heard("action_update") == []
    for peer in (own, other):
        [update] = peer.heard("action_update")
        assert update["id"] == answer["id"]
        assert (update["user_id"], update["username"], update["room"]) == ("1", "ada", "lobby")
        assert (update["type"], update["category"]) == ("click", "pointer")
        assert (update["payload"], update["client_ts"]) == ({"x": 1}, bench.time.now_ms())
        assert update["sid"] == sender.session.sockets["/"].id


async def test_each_delivery_names_the_room_that_it_came_through(bench: Bench) -> None:
    sender, own, other = (
        await bench.joined("ada"),
        await bench.joined("ada"),
        await bench.joined("grace"),
    )
    for peer in (sender, other):
        await peer.act("room_join", {"room": "garden"})
    await other.act("room_leave", {"room": "lobby"})
    await sender.act("room_leave", {"room": "lobby"})
    await sender.act("click")
    assert [each["room"] for each in other.heard("action_update")] == ["garden"]
    assert [each["room"] for each in own.heard("action_update")] == [None]


async def test_who_is_in_two_of_the_rooms_is_told_once(bench: Bench) -> None:
    sender, other = await bench.joined("ada"), await bench.joined("grace")
    for peer in (sender, other):
        await peer.act("room_join", {"room": "garden"})
    await sender.act("click")
    assert [each["room"] for each in other.heard("action_update")] == ["garden"]


async def test_actions_that_change_state_are_audited_by_their_type(bench: Bench) -> None:
    peer = await bench.joined()
    answer = await peer.act("presence", {"state": "idle"})
    action, facts = bench.audited[-1]
    assert (action, facts["detail"], facts["principal"]) == (
        "presence",
        {"id": answer["id"]},
        "user:1",
    )


async def test_a_refused_action_is_not_audited(bench: Bench) -> None:
    peer = await bench.joined()
    await peer.act("presence", {"state": "dancing"})
    assert [action for action, _ in bench.audited] == ["socket_connected"]


async def test_a_refused_payload_has_burned_its_nonce(bench: Bench) -> None:
    peer = await bench.joined()
    envelope = peer.sign("presence", {"state": "dancing"})
    answers = [(await peer.call("action", envelope))["error"] for _ in range(2)]
    assert answers == ["payload_invalid", "replay_detected"]


async def test_a_refused_signature_has_burned_nothing(bench: Bench) -> None:
    peer = await bench.joined()
    envelope = peer.sign("click")
    bad = {**envelope, "sig": "0" * 64}
    assert (await peer.call("action", bad))["error"] == "invalid_signature"
    assert (await peer.call("action", envelope))["ok"] is True


async def test_one_message_sent_three_times_is_one_action(bench: Bench) -> None:
    peers = [await bench.joined() for _ in range(2)]
    envelope = peers[0].sign("click")
    answers = [(await peers[0].call("action", envelope)).get("error") for _ in range(3)]
    assert answers == [None, "replay_detected", "replay_detected"]
    assert len(peers[1].heard("action_update")) == 1


async def test_a_shared_nonce_store_may_answer_later(bench: Bench) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    nonces = bench.hub.gate._nonces = LateNonces()
    assert await peer.act("click") == {}
    nonces.opened.set()
    await settle()
    assert peer.answer(0)["ok"] is True
    assert len(other.heard("action_update")) == 1


async def test_who_left_before_the_store_answered_does_nothing(bench: Bench) -> None:
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    nonces = bench.hub.gate._nonces = LateNonces()
    await peer.act("presence", {"state": "idle"})
    peer.lose()
    nonces.opened.set()
    await settle()
    assert bench.incidents == []
    assert [action for action, _ in bench.audited][-1] == "socket_disconnected"
    assert other.wires.code is None


async def test_other_apps_bring_actions_that_may_wait_and_refuse(bench: Bench) -> None:
    async def later(_socket: object, action: Action) -> dict[str, object]:
        await asyncio.sleep(0)
        if action.payload is None:
            raise Refused("quota_exceeded", public={"path": "$"}, retry_after_ms=7)
        return {"build_id": "b1"}

    rule = PayloadRule(max_bytes=10)
    bench.hub.actions["build"] = ActionType(name="build", rule=rule, handler=later)
    bench.hub.gate.door.rules["build"] = rule  # type: ignore[index]  # a dict, here
    peer = await bench.joined()
    assert (await peer.act("build", {}))["build_id"] == "b1"
    answer = await peer.act("build")
    assert (answer["error"], answer["path"], answer["retry_after_ms"]) == ("quota_exceeded", "$", 7)
    assert (bench.incidents[0].event_type, bench.incidents[0].kind) == ("build", "quota_exceeded")


async def test_stopping_listens_to_nothing_any_more(bench: Bench) -> None:
    await bench.hub.stop()
    assert bench.hub.notices._stop is None
