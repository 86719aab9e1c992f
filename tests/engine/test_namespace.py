"""What engines may say on "/engine", what each refusal does, and whose socket is whose."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from engine import dispatcher
from engine.dispatch.announced import MAX_CAPACITY
from engine.dispatch.engines import CONNECTION_CLOSED, CONNECTION_REPLACED
from engine.models import EngineSession
from engine.outcome import Outcome
from security.refusals import Refused
from security.signatures import MessageKey
from tests.engine.conftest import JOB_TYPES, Bench
from tests.engine.engine_bench import IDS, EngineBench, EnginePeer, connected
from tests.realtime.guarded import settle

Message = list[Any]
ERROR = {"code": "broken", "message": "It broke.", "retryable": False}
SAYS: dict[str, dict[str, Any]] = {
    "engine_ready": {"capacity": 2, "job_types": JOB_TYPES, "version": "1"},
    "engine_heartbeat": {"attempts": []},
    "engine_resume": {"attempts": []},
    "engine_draining": {},
    "job_ack": IDS,
    "job_started": IDS,
    "job_progress": {**IDS, "progress": 5},
    "job_completed": {**IDS, "result": {"nodes": 1}},
    "job_failed": {**IDS, "error": ERROR},
    "job_status": {**IDS, "status": "running"},
    "engine_error": {"code": "gpu", "message": "It is hot.", "details": {"celsius": 99}},
    "telemetry": {"frames": 60},
    "reauth": {"token": "forge"},
}


# -- joining


async def test_an_engine_is_told_what_is_expected_of_it(hub: EngineBench) -> None:
    session = await hub.engine().connect()
    assert (session["principal"], session["engine"]) == ("engine:forge", "forge")
    assert (session["namespace"], session["drift_ms"]) == ("/engine", 30_000)
    assert session["heartbeat"] == {"interval_ms": 3_000, "disconnect_after_ms": 90_000}
    assert session["limits"] == {
        "max_payload": 1_000_000,
        "actions_per_s": 1_000.0,
        "burst": 2_000,
    }
    assert hub.names() == []


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://testserver", "http://testserver.evil"]
)
async def test_a_page_of_another_origin_is_no_engine(hub: EngineBench, origin: str) -> None:
    peer = hub.engine(headers={"host": "localhost", "origin": origin})
    refused = await peer.connect()
    assert refused["data"]["code"] == "FORBIDDEN"
    assert hub.kinds() == ["origin_forbidden"]
    assert hub.incidents[0].detail["seen"] == origin
    assert peer.wires.code == 4403


async def test_the_hubs_own_origin_is_what_a_stock_client_sends(hub: EngineBench) -> None:
    peer = hub.engine(headers={"host": "localhost:8000", "origin": "http://localhost:8000"})
    assert (await peer.connect())["engine"] == "forge"


async def test_a_token_of_another_audience_opens_nothing(hub: EngineBench) -> None:
    assert (await hub.engine().connect("ada"))["data"]["code"] == "AUTH_INVALID"
    person = hub.peer()
    assert (await person.connect("forge"))["data"]["code"] == "AUTH_INVALID"
    assert hub.kinds() == ["auth_invalid", "auth_invalid"]


@pytest.mark.parametrize("nonce", [None, "", "AAAA", 5, "=" * 43])
async def test_an_engine_brings_32_bytes_of_its_own(hub: EngineBench, nonce: object) -> None:
    refused = await hub.engine().connect(client_nonce=nonce)
    assert refused["data"]["code"] == "AUTH_INVALID"
    assert hub.kinds() == ["auth_invalid"]


async def test_the_feed_of_a_person_is_no_key_here(hub: EngineBench) -> None:
    await hub.engine().connect(feed={"epoch": "e", "after": 0})
    assert hub.kinds() == ["auth_bypass_attempt"]


async def test_the_sockets_of_one_engine_are_bounded(make_hub: Callable[..., EngineBench]) -> None:
    hub = make_hub(sockets_per_user=2)
    first = hub.engine()
    await first.connect()
    await hub.engine().connect()
    assert (await hub.engine().connect())["data"]["code"] == "TOO_MANY_CONNECTIONS"
    assert (await hub.engine().connect("anvil"))["engine"] == "anvil"
    first.lose()
    await settle()
    assert (await hub.engine().connect())["engine"] == "forge"


# -- what is admitted


@pytest.mark.parametrize("event", SAYS)
async def test_each_event_is_taken_when_it_is_as_agreed(hub: EngineBench, event: str) -> None:
    peer = hub.engine()
    await peer.connect()
    assert (await peer.say(event, SAYS[event]))["ok"] is True
    assert hub.incidents == []
    assert peer.heard(f"{event}_rejected") == []


async def test_reports_reach_the_dispatcher_with_what_they_say(hub: EngineBench) -> None:
    peer = await hub.proved()
    for event, body in SAYS.items():
        await peer.say(event, body)
    said = {each.name: each.args for each in hub.decided}
    assert said["report_ack"] == said["report_started"] == ("e_1", "j_1", "a_1")
    assert said["report_progress"] == ("e_1", "j_1", "a_1", 5)
    assert said["report_completed"] == ("e_1", "j_1", "a_1", {"nodes": 1})
    assert said["report_failed"] == ("e_1", "j_1", "a_1", ERROR)
    assert said["heartbeat"] == said["engine_resume"] == ("e_1", [])
    assert hub.asked("engine_ready")[0].options == SAYS["engine_ready"]


def unsigned(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {key: value for key, value in good.items() if key != "sig"}]


def bare(_peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, SAYS[event]]


def with_a_type(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "type": event}]


def with_payload_as_an_object(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "payload": SAYS[event]}]


def with_a_time_as_text(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "ts": str(good["ts"])}]


def without_arguments(_peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event]


def with_two_arguments(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, good, good]


def with_one_bit_flipped(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    flipped = f"{int(good['sig'][0], 16) ^ 1:x}{good['sig'][1:]}"
    return [event, {**good, "sig": flipped}]


def with_another_payload(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "payload": good["payload"] + " "}]


def as_another_event(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    other = "job_completed" if event != "job_completed" else "job_progress"
    return [event, peer.sign(other, SAYS[event])]


def with_the_hubs_own_key(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, _signed_by(peer, peer.heard_key, event)]


def with_another_engines_key(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    key = peer.key_of("anvil", peer.heard("session")[0], "c2s")
    return [event, _signed_by(peer, key, event)]


def _signed_by(peer: EnginePeer, key: MessageKey, event: str) -> dict[str, Any]:
    own, peer.key = peer.key, key
    try:
        return peer.sign(event, SAYS[event])
    finally:
        peer.key = own


def a_moment_too_old(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, SAYS[event], ts=peer.bench.time.now_ms() - 30_001)]


def a_moment_too_new(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, SAYS[event], ts=peer.bench.time.now_ms() + 30_001)]


def with_a_list(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, [])]


def with_no_json(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, '{"a":1,"a":2}')]


def with_too_much(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, {**SAYS[event], "more": "x" * 200_000})]


INCOMPLETE, BAD_SIGNATURE = "ENGINE_PACKET_INCOMPLETE", "ENGINE_SIGNATURE_INVALID"
FORGERIES: dict[Callable[..., Message], str] = {
    unsigned: INCOMPLETE,
    bare: INCOMPLETE,
    with_a_type: INCOMPLETE,
    with_payload_as_an_object: INCOMPLETE,
    with_a_time_as_text: INCOMPLETE,
    without_arguments: INCOMPLETE,
    with_two_arguments: INCOMPLETE,
    with_one_bit_flipped: BAD_SIGNATURE,
    with_another_payload: BAD_SIGNATURE,
    as_another_event: BAD_SIGNATURE,
    with_the_hubs_own_key: BAD_SIGNATURE,
    with_another_engines_key: BAD_SIGNATURE,
    a_moment_too_old: "ENGINE_TIMESTAMP_EXPIRED",
    a_moment_too_new: "ENGINE_TIMESTAMP_EXPIRED",
    with_a_list: "PAYLOAD_INVALID",
    with_no_json: "PAYLOAD_INVALID",
    with_too_much: "PAYLOAD_INVALID",
}


def is_refused(hub: EngineBench, peer: EnginePeer, event: str, code: str) -> bool:
    """Whether the last answer says so in the ack, in the event and in exactly one record."""
    name = "status_rejected" if event == "job_status" else f"{event}_rejected"
    assert [each["reason"] for each in peer.heard(name)] == [code]
    assert [(each.kind, each.event_type) for each in hub.incidents] == [(code.lower(), event)]
    assert hub.incidents[0].principal == "engine:forge"
    return not peer.left()


@pytest.mark.parametrize("event", SAYS)
@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
async def test_what_is_not_authentic_is_refused_and_decides_nothing(
    hub: EngineBench, event: str, forge: Callable[..., Message]
) -> None:
    peer = hub.engine()
    await peer.connect()
    good = peer.sign(event, SAYS[event])
    answer = await peer.call(*forge(peer, event, good))
    assert (answer["ok"], answer["error"]) == (False, FORGERIES[forge])
    assert is_refused(hub, peer, event, FORGERIES[forge])
    assert hub.names() == []
    assert [action for action, _ in hub.audited] == ["socket_connected"]
    assert (await peer.call(event, good))["ok"] is True  # the genuine one still works


@pytest.mark.parametrize("event", SAYS)
async def test_no_event_is_taken_twice(hub: EngineBench, event: str) -> None:
    peer = hub.engine()
    await peer.connect()
    envelope = peer.sign(event, SAYS[event])
    await peer.call(event, envelope)
    decided = hub.names()
    assert (await peer.call(event, envelope))["error"] == "ENGINE_NONCE_REPLAY"
    assert is_refused(hub, peer, event, "ENGINE_NONCE_REPLAY")
    assert hub.names() == decided


async def test_a_message_for_one_socket_is_none_for_another(hub: EngineBench) -> None:
    first, second = hub.engine(), hub.engine()
    await first.connect()
    await second.connect()
    envelope = first.sign("job_ack", IDS)
    assert (await second.call("job_ack", envelope))["error"] == BAD_SIGNATURE
    assert (await first.call("job_ack", envelope))["ok"] is True


@pytest.mark.parametrize("drift", [-30_000, 30_000])
async def test_the_edges_of_the_window_are_inside(hub: EngineBench, drift: int) -> None:
    peer = hub.engine()
    await peer.connect()
    assert (await peer.say("job_ack", IDS, ts=hub.time.now_ms() + drift))["ok"] is True


OTHER_KEYS = [
    *((event, {**body, "surprise": 1}) for event, body in SAYS.items()),
    *((event, dict(list(body.items())[1:])) for event, body in SAYS.items() if body),
]


@pytest.mark.parametrize(("event", "body"), [each for each in OTHER_KEYS if each[0] != "telemetry"])
async def test_each_event_has_exactly_its_keys(
    hub: EngineBench, event: str, body: dict[str, Any]
) -> None:
    peer = hub.engine()
    await peer.connect()
    answer = await peer.say(event, body)
    assert answer["error"] == "PAYLOAD_INVALID"
    assert is_refused(hub, peer, event, "PAYLOAD_INVALID")
    assert hub.names() == []


@pytest.mark.parametrize("event", [event for event in SAYS if event.startswith("job_")])
@pytest.mark.parametrize("value", [None, 1, True, ["j_1"], {"id": "j_1"}])
async def test_ids_are_texts(hub: EngineBench, event: str, value: object) -> None:
    for key in IDS:
        peer = await hub.proved()
        answer = await peer.say(event, {**SAYS[event], key: value})
        assert answer["error"] == "PAYLOAD_INVALID"
        peer.lose()
    assert "report_ack" not in hub.names()
    assert hub.kinds() == ["payload_invalid", "payload_invalid"]


@pytest.mark.parametrize("key", ["code", "message"])
@pytest.mark.parametrize("value", [None, 1, ["x"], {"a": 1}])
async def test_an_engines_trouble_is_told_in_words(
    hub: EngineBench, key: str, value: object
) -> None:
    peer = await hub.proved()
    answer = await peer.say("engine_error", {**SAYS["engine_error"], key: value})
    assert answer["error"] == "PAYLOAD_INVALID"
    assert "engine_error" not in [action for action, _ in hub.audited]


async def test_an_engines_trouble_is_on_record(hub: EngineBench) -> None:
    peer = await hub.proved()
    await peer.say("engine_error", {**SAYS["engine_error"], "details": {"token": "x"}})
    action, facts = hub.audited[-1]
    assert (action, facts["principal"]) == ("engine_error", "engine:forge")
    assert facts["detail"] == {"code": "gpu", "message": "It is hot.", "details": '{"token":"x"}'}


@pytest.mark.parametrize(
    "event", ["explode", "action", "ready_ack", "*", "Job_ack", "job_ack ", ""]
)
async def test_an_event_that_nobody_knows_is_refused(hub: EngineBench, event: str) -> None:
    peer = hub.engine()
    await peer.connect()
    good = peer.sign("job_ack", IDS)
    assert (await peer.call(event, good))["error"] == INCOMPLETE
    known = event in {"explode", "action", "ready_ack"}
    name = f"{event}_rejected" if known else "message_rejected"
    assert [each["reason"] for each in peer.heard(name)] == [INCOMPLETE]
    assert hub.kinds() == ["engine_packet_incomplete"]
    assert hub.names() == []


@pytest.mark.parametrize("event", [1, None, ["job_ack"], {"job_ack": 1}])
async def test_a_name_that_is_no_text_is_refused(hub: EngineBench, event: object) -> None:
    peer = hub.engine()
    await peer.connect()
    peer.send("42/engine," + json.dumps([event, {}]))
    await settle()
    assert hub.names() == []
    assert len(hub.incidents) == 1


async def test_the_name_of_the_catch_all_stands_for_no_event(hub: EngineBench) -> None:
    peer = hub.engine()
    await peer.connect()
    assert (await peer.call("*", "job_ack", peer.sign("job_ack", IDS)))["error"] == INCOMPLETE
    assert hub.names() == []


async def test_a_binary_event_is_refused_unread(hub: EngineBench) -> None:
    peer = hub.engine()
    await peer.connect()
    peer.send('451-/engine,7["job_ack",{"_placeholder":true,"num":0}]')
    peer.send(b"12345")
    await settle()
    assert peer.answer(7)["error"] == INCOMPLETE
    assert [each["reason"] for each in peer.heard("message_rejected")] == [INCOMPLETE]
    assert [each.kind for each in hub.incidents] == ["engine_packet_incomplete"]
    assert hub.names() == []


async def test_a_refusal_comes_as_an_event_when_no_answer_was_asked_for(hub: EngineBench) -> None:
    peer = hub.engine()
    await peer.connect()
    peer.tell("job_progress", IDS)
    await settle()
    (rejected,) = peer.heard("job_progress_rejected")
    assert rejected.keys() == {"reason", "message", "server_time"}
    assert not [frame for frame in peer.texts() if frame.startswith("43/")]


async def test_an_engine_that_is_too_fast_is_told_when_to_go_on(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(engine_message_burst=1, engine_messages_per_s=2.0)
    peer = hub.engine()
    await peer.connect()
    assert (await peer.say("telemetry", {}))["ok"] is True
    refused = await peer.say("telemetry", {})
    assert (refused["error"], refused["retry_after_ms"]) == ("RATE_LIMITED", 500)
    assert hub.kinds() == ["rate_limited"]


async def test_a_spent_budget_ends_the_connection_and_its_token_rests(hub: EngineBench) -> None:
    peer = hub.engine()
    await peer.connect()
    for _ in range(11):
        peer.send('42/engine,["job_ack",{}]')
    await settle()
    assert peer.wires.code == 4429
    assert (await hub.engine().connect())["data"]["code"] == "PENALTY"
    hub.renew("newer", of="forge", token_id="another")
    assert (await hub.engine().connect("newer"))["engine"] == "forge"  # its owner is not locked out
    assert hub.kinds().count("budget_exceeded") == 1


# -- what the dispatcher refuses


FENCES = [
    "JOB_UNKNOWN",
    "JOB_NOT_YOURS",
    "INVALID_TRANSITION",
    "STALE_ATTEMPT",
    "LEASE_EXPIRED",
    "CONFLICTING_COMPLETION",
    "PAYLOAD_INVALID",
]


@pytest.mark.parametrize("code", FENCES)
async def test_a_fenced_report_is_answered_with_what_its_engine_may_know(
    hub: EngineBench, code: str
) -> None:
    peer = await hub.proved()
    facts = {"status": "completed", "attempt": 2}
    hub.answers["report_completed"] = Refused(code, public=facts)
    answer = await peer.say("job_completed", SAYS["job_completed"])
    assert (answer["error"], answer["status"], answer["attempt"]) == (code, "completed", 2)
    assert is_refused(hub, peer, "job_completed", code)


async def test_fencing_costs_nothing_however_often_it_happens(hub: EngineBench) -> None:
    peer = await hub.proved()
    hub.answers["report_ack"] = Refused("STALE_ATTEMPT")
    for _ in range(30):
        await peer.say("job_ack", IDS)
    assert not peer.left()


async def test_a_database_in_trouble_is_no_fault_of_the_engine(hub: EngineBench) -> None:
    peer = await hub.proved()
    hub.answers["report_ack"] = OperationalError("database is locked")
    assert (await peer.say("job_ack", IDS))["error"] == "TRY_AGAIN"
    assert is_refused(hub, peer, "job_ack", "TRY_AGAIN")


async def test_a_repeated_report_is_told_to_be_one(hub: EngineBench) -> None:
    peer = await hub.proved()
    hub.answers["report_ack"] = Outcome({"duplicate": True})
    assert await peer.say("job_ack", IDS) == {"ok": True, "duplicate": True}


# -- job_status


@pytest.mark.parametrize(
    ("status", "more", "decision"),
    [
        ("dispatched", {}, "report_ack"),
        ("running", {}, "report_started"),
        ("running", {"progress": 40}, "report_progress"),
        ("completed", {"result": {"nodes": 1}}, "report_completed"),
        ("failed", {"error": ERROR}, "report_failed"),
    ],
)
async def test_job_status_stands_for_the_other_reports(
    hub: EngineBench, status: str, more: dict[str, Any], decision: str
) -> None:
    peer = await hub.proved()
    assert (await peer.say("job_status", {**IDS, "status": status, **more}))["ok"] is True
    assert hub.names()[-1] == decision
    assert hub.decided[-1].args == ("e_1", "j_1", "a_1", *more.values())


@pytest.mark.parametrize(
    "body",
    [
        {"status": "queued"},
        {"status": "Running"},
        {"status": None},
        {"status": ["running"]},
        {"status": "completed"},
        {"status": "failed", "result": {}},
        {"status": "dispatched", "progress": 0},
        {"status": "completed", "result": {}, "progress": 100},
        {},
    ],
)
async def test_any_other_job_status_is_refused(hub: EngineBench, body: dict[str, Any]) -> None:
    peer = await hub.proved()
    hub.decided.clear()
    assert (await peer.say("job_status", {**IDS, **body}))["error"] == "PAYLOAD_INVALID"
    assert is_refused(hub, peer, "job_status", "PAYLOAD_INVALID")
    assert hub.names() == []


# -- bounds


async def test_a_full_engine_can_list_all_that_it_holds(hub: EngineBench) -> None:
    listed = [
        {"job_id": f"j_{index:022}", "attempt_id": f"a_{index:022}"}
        for index in range(MAX_CAPACITY)
    ]
    peer = await hub.proved()
    for event in ("engine_heartbeat", "engine_resume"):
        assert (await peer.say(event, {"attempts": listed}))["ok"] is True
    assert hub.decided[-1].args[1] == listed


async def test_a_result_larger_than_a_frame_ends_the_connection(hub: EngineBench) -> None:
    peer = await hub.proved()
    await peer.say("job_completed", {**IDS, "result": {"blob": "x" * 1_000_000}})
    assert peer.wires.code == 1009
    assert hub.kinds() == ["payload_too_large"]
    assert "report_completed" not in hub.names()


# -- what the hub says


async def test_everything_said_to_an_engine_is_signed(hub: EngineBench) -> None:
    peer = await hub.proved()
    hub.answers["heartbeat"] = Outcome({"renewed": 1, "stale": ["a_9"]})
    await peer.say("engine_ready", SAYS["engine_ready"])
    await peer.say("engine_heartbeat", {"attempts": ["a_1", "a_9"]})
    now = hub.time.now_ms()
    assert peer.opened("ready_ack") == [{"server_time": now}]
    assert peer.opened("heartbeat_ack") == [{"server_time": now, "renewed": 1, "stale": ["a_9"]}]
    nonces = {peer.heard(event)[0]["nonce"] for event in ("ready_ack", "heartbeat_ack")}
    assert len(nonces) == 2


async def test_what_is_for_one_connection_reaches_no_other(hub: EngineBench) -> None:
    forge, anvil = await hub.proved("forge"), await hub.proved("anvil")
    hub.engines.deliver("e_2", "job_abort", {**IDS, "reason": "cancelled"})
    hub.engines.deliver("e_9", "job_abort", {**IDS, "reason": "cancelled"})
    assert forge.opened("job_abort") == []
    assert anvil.opened("job_abort") == [{**IDS, "reason": "cancelled"}]


async def test_who_has_not_proved_itself_is_sent_no_job(hub: EngineBench) -> None:
    peer = hub.engine()
    await peer.connect()
    hub.engines.deliver("", "engine_job", {"job_id": "j_1"})
    assert peer.heard("engine_job") == []


# -- one connection of an engine at a time


async def test_an_engine_is_noted_once_with_the_digest_of_its_socket(hub: EngineBench) -> None:
    peer = await hub.proved()
    await peer.say("job_ack", IDS)
    (noted,) = hub.asked("engine_connected")
    assert noted.args == ("forge",)
    assert noted.options["node"] == hub.node.id
    assert len(noted.options["sid_hash"]) == 64


async def test_a_second_connection_replaces_the_first_only_when_it_has_proved_itself(
    hub: EngineBench,
) -> None:
    first = await hub.proved()
    second = hub.engine()
    await second.connect()
    await second.call("telemetry", {**second.sign("telemetry", {}), "sig": "0" * 64})
    assert not first.left()
    hub.answers["engine_connected"] = connected("e_new", ("e_1", hub.node.id))
    await second.say("telemetry", {})
    assert first.wires.code == 4409
    assert first.heard("goodbye")[0]["code"] == 4409
    assert first.texts()[-1].startswith("41/engine")
    assert not second.left()
    hub.engines.deliver("e_new", "job_abort", IDS)
    assert len(second.opened("job_abort")) == 1


async def test_the_replaced_connection_of_another_process_is_closed_there(
    hub: EngineBench,
) -> None:
    hub.answers["engine_connected"] = connected("e_1", ("e_far", "n_far"))
    await hub.proved()
    bodies = [message["body"] for topic, message in hub.published if topic.startswith("engine:")]
    assert bodies == [{}]


async def test_an_engine_that_leaves_is_noted_as_gone(hub: EngineBench) -> None:
    peer = await hub.proved()
    peer.lose()
    await settle()
    assert [each.args for each in hub.asked("engine_closed")] == [("e_1",)]


async def test_who_proved_nothing_leaves_nothing(hub: EngineBench) -> None:
    peer = hub.engine()
    await peer.connect()
    peer.lose()
    await settle()
    assert hub.names() == []


async def test_a_connection_that_leaves_while_it_is_noted_is_closed_in_the_database(
    hub: EngineBench,
) -> None:
    first = await hub.proved()
    hub.answers["engine_connected"] = connected("e_new", ("e_1", hub.node.id))
    second = hub.engine()
    await second.connect()
    release = hub.hold("engine_connected")
    second.tell("job_ack", IDS)
    await settle()
    second.lose()
    release()
    await settle()
    assert ("e_new",) in [each.args for each in hub.asked("engine_closed")]
    assert "report_ack" not in hub.names()
    # Its row has taken the place of the first one's, so the first can do nothing any more.
    assert first.wires.code == 4409


@pytest.mark.parametrize(
    ("reason", "code"), [(CONNECTION_REPLACED, 4409), (CONNECTION_CLOSED, 1012)]
)
async def test_a_connection_that_no_longer_counts_is_ended(
    hub: EngineBench, reason: str, code: int
) -> None:
    peer = await hub.proved()
    hub.answers["heartbeat"] = Refused("TRY_AGAIN", reason=reason)
    assert (await peer.say("engine_heartbeat", {"attempts": []}))["error"] == "TRY_AGAIN"
    assert peer.wires.code == code


# -- silence


async def test_an_engine_that_says_nothing_authentic_is_closed_and_on_record_once(
    hub: EngineBench,
) -> None:
    peer = await hub.proved()
    await hub.advance(89)
    await peer.call("telemetry", {**peer.sign("telemetry", {}), "sig": "0" * 64})
    assert not peer.left()
    await hub.advance(1)
    assert peer.wires.code == 4408
    assert hub.kinds() == ["engine_signature_invalid", "heartbeat_missing"]
    await hub.advance(200)
    assert hub.kinds().count("heartbeat_missing") == 1
    assert hub.names()[-1] == "engine_closed"


async def test_every_authentic_message_begins_the_wait_anew(hub: EngineBench) -> None:
    peer = await hub.proved()
    for event in ("job_ack", "engine_heartbeat", "telemetry"):
        await hub.advance(60)
        await peer.say(event, SAYS[event])
    await hub.advance(89)
    assert not peer.left()
    await hub.advance(1)
    assert peer.wires.code == 4408


async def test_an_engine_that_leaves_while_it_is_greeted_is_not_watched(
    hub: EngineBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = hub.engine()

    async def leaving(*_args: object) -> dict[str, object]:
        peer.lose()
        return {}

    monkeypatch.setattr(hub.engines, "session_extra", leaving)
    with pytest.raises(IndexError):  # no session to learn a key from
        await peer.connect()
    await hub.advance(90)
    assert hub.kinds() == []


# -- the token


async def test_a_newer_token_of_the_same_engine_prolongs_the_connection(hub: EngineBench) -> None:
    peer = await hub.proved()
    hub.renew("newer", of="forge", expires_at=hub.time.now_ms() + 600_000)
    answer = await peer.say("reauth", {"token": "newer"})
    assert answer["token_expires_at"] == hub.time.now_ms() + 600_000


@pytest.mark.parametrize("token", ["anvil", "ada", "nobody", "", 5, None, ["forge"]])
async def test_no_other_token_prolongs_it(hub: EngineBench, token: object) -> None:
    peer = await hub.proved()
    assert (await peer.say("reauth", {"token": token}))["error"] == "AUTH_INVALID"
    assert [each["reason"] for each in peer.heard("reauth_rejected")] == ["AUTH_INVALID"]


# -- on the database


@pytest.mark.django_db
async def test_progress_is_a_whole_per_cent(make_hub: Callable[..., EngineBench]) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    for progress in (-1, 101, 50.5, "50", True, None, [50]):
        answer = await peer.say("job_progress", {**_first_job(peer), "progress": progress})
        assert answer["error"] == "PAYLOAD_INVALID"
    assert hub.kinds() == ["payload_invalid"] * 7
    assert (await peer.say("job_progress", {**_first_job(peer), "progress": 50}))["ok"] is True
    backwards = await peer.say("job_progress", {**_first_job(peer), "progress": 49})
    assert backwards["error"] == "PAYLOAD_INVALID"


@pytest.mark.django_db
async def test_what_one_report_says_cannot_be_sent_as_another(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    body = {**_first_job(peer), "progress": 100}
    assert (await peer.say("job_completed", body))["error"] == "PAYLOAD_INVALID"
    progress = peer.sign("job_progress", body)
    assert (await peer.call("job_completed", progress))["error"] == BAD_SIGNATURE


@pytest.mark.django_db
@pytest.mark.parametrize("size", [65_600, 900_000])
async def test_a_result_is_bounded(make_hub: Callable[..., EngineBench], size: int) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    large = {**_first_job(peer), "result": {"blob": "x" * size}}
    assert (await peer.say("job_completed", large))["error"] == "PAYLOAD_INVALID"
    assert hub.kinds() == ["payload_invalid"]
    fitting = {**_first_job(peer), "result": {"blob": "x" * 65_000}}
    assert (await peer.say("job_completed", fitting))["ok"] is True


@pytest.mark.django_db
async def test_a_job_of_another_engine_is_not_moved(make_hub: Callable[..., EngineBench]) -> None:
    hub = make_hub(stored=True)
    forge = await _at_work(hub)
    anvil = await hub.proved("anvil")
    done = {**_first_job(forge), "result": {}}
    assert (await anvil.say("job_completed", done))["error"] == "JOB_NOT_YOURS"
    unknown = {"job_id": "j_none", "attempt_id": "a_none", "result": {}}
    assert (await forge.say("job_completed", unknown))["error"] == "JOB_UNKNOWN"
    assert hub.kinds() == ["job_not_yours", "job_unknown"]


@pytest.mark.django_db
async def test_a_replaced_connection_is_closed_and_the_new_one_resumes(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(stored=True)
    first = await _at_work(hub)
    held = _first_job(first)
    second = hub.engine()
    await second.connect()
    assert not first.left()
    answer = await second.say("engine_resume", {"attempts": [held]})
    assert answer["resumed"] == [held["job_id"]]
    assert first.wires.code == 4409
    assert (await second.say("job_completed", {**held, "result": {}}))["ok"] is True


@pytest.mark.django_db
async def test_an_engine_that_was_given_up_while_the_hub_slept_is_sent_back_to_connect_anew(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(stored=True)
    peer = await _at_work(hub)
    hub.on_database(lambda: dispatcher.engine_closed(EngineSession.objects.get().id))
    assert (await peer.say("engine_heartbeat", {"attempts": []}))["error"] == "TRY_AGAIN"
    assert peer.wires.code == 1012
    assert peer.heard("goodbye")[0]["retry_after_ms"] > 0


async def _at_work(hub: EngineBench) -> EnginePeer:
    """An engine that has started the first job of a person's world."""
    hub.on_database(Bench().submit)
    peer = await hub.proved()
    await peer.say("engine_ready", SAYS["engine_ready"])
    assert (await peer.say("job_started", _first_job(peer)))["ok"] is True
    return peer


def _first_job(peer: EnginePeer) -> dict[str, str]:
    body = peer.opened("engine_job")[0]
    return {key: body[key] for key in ("job_id", "attempt_id")}
