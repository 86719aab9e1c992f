"""Each event has its form and its bounds, and everything else is refused with its reason."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.dispatch.announced import MAX_CAPACITY
from tests.engine.engine_bench import IDS, INCOMPLETE, SAYS, EngineBench, is_refused
from tests.realtime.guarded import settle


@pytest.mark.parametrize("event", SAYS)
async def test_each_event_is_taken_when_it_is_as_agreed(hub: EngineBench, event: str) -> None:
    peer = hub.engine()
    await peer.connect()
    assert (await peer.say(event, SAYS[event]))["ok"] is True
    assert hub.incidents == []
    assert peer.heard(f"{event}_rejected") == []


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
