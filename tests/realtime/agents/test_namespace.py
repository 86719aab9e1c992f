"""Agents hear their rooms and no others, and speak only to those who are there."""

import asyncio
import json
from typing import Any

import pytest
from django.db import OperationalError

from realtime.guard import session_key
from security import grants
from tests.realtime.agents.agent_bench import AgentBench, AgentPeer
from tests.realtime.services_bench import add_service

HINT = {"user_id": "1", "message": "Take your time.", "reason": "rapid_clicking"}


def words(peer: AgentPeer) -> list[Any]:
    """What an agent has heard, each envelope verified: who, where, which words."""
    heard = peer.opened("action_update")
    return [(each["username"], each["room"], each["payload"]["text"]) for each in heard]


# -- joining


async def test_a_session_names_the_agent_its_rooms_and_its_heartbeat(bench: AgentBench) -> None:
    session = await bench.agent().connect()
    assert session["agent"] == "coach"
    assert session["rooms"] == ["garden", "lobby"]
    assert session["drift_ms"] == 30_000
    assert session["heartbeat"] == {"interval_ms": 10_000, "disconnect_after_ms": 90_000}
    assert session["principal"] == "agent:coach"


@pytest.mark.parametrize("nonce", [None, "", "c2hvcnQ", 7])
async def test_a_nonce_of_the_agents_own_is_required(bench: AgentBench, nonce: object) -> None:
    refusal = await bench.agent().connect(client_nonce=nonce)
    assert refusal["message"] == "AUTH_INVALID"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver:81"])
async def test_no_browser_is_an_agent(bench: AgentBench, origin: str) -> None:
    peer = bench.agent(headers={"host": "testserver", "origin": origin})
    assert (await peer.connect())["message"] == "FORBIDDEN"
    assert bench.incidents[-1].kind == "origin_forbidden"


async def test_the_hubs_own_origin_is_no_browser(bench: AgentBench) -> None:
    peer = bench.agent(headers={"host": "testserver", "origin": "http://testserver"})
    assert (await peer.connect())["agent"] == "coach"


@pytest.mark.parametrize("who", ["ada", "admin", "forge"])
async def test_only_an_agents_token_opens_the_namespace(bench: AgentBench, who: str) -> None:
    add_service(bench, "engine", "forge")
    assert (await bench.agent().connect(who))["message"] == "AUTH_INVALID"


async def test_an_agents_token_opens_no_door_of_people(bench: AgentBench) -> None:
    assert (await bench.peer().connect("coach"))["message"] == "AUTH_INVALID"


# -- hearing


async def test_an_agent_hears_what_is_done_in_its_rooms_signed(bench: AgentBench) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    await ada.act("speak", {"text": "hello"})
    (update,) = agent.opened("action_update")
    assert update["user_id"] == "1"
    assert update["type"] == "speak"
    assert (update["room"], update["category"]) == ("lobby", "speech")


async def test_text_of_any_kind_reaches_the_agent_as_it_was_sent(bench: AgentBench) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    text = 'end"]}]42["action_update",{}] \u2028 ☃ \\ é'
    await ada.act("speak", {"text": text})
    assert words(agent) == [("ada", "lobby", text)]


async def test_a_room_that_was_not_granted_is_not_heard(bench: AgentBench) -> None:
    agent, ada = await bench.listening(), await bench.in_room("ada", "attic")
    await ada.act("speak", {"text": "secret"})
    assert words(agent) == []


async def test_an_agent_in_two_rooms_of_a_person_hears_once(bench: AgentBench) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    await ada.act("room_join", {"room": "garden"})
    await ada.act("speak", {"text": "here and there"})
    assert words(agent) == [("ada", "garden", "here and there")]


async def test_nothing_but_actions_is_heard(bench: AgentBench) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    await ada.act("presence", {"state": "idle"})
    await bench.advance(1)
    ada.lose()
    await bench.advance(1)
    assert {event for event, _ in spoken(agent)} == {"session"}


async def test_no_room_of_the_hubs_own_can_be_heard(bench: AgentBench) -> None:
    agent = await bench.listening("deaf")
    for room in ("hub:everybody", "hub:staff", "hub:user:1"):
        bench.hub.broadcast([room], "action_update", {"text": "not for agents"})
    assert agent.heard("action_update") == []


async def test_a_token_alone_hears_nothing(bench: AgentBench) -> None:
    agent, ada = bench.agent(), await bench.joined("ada")
    await agent.connect()
    await ada.act("speak", {"text": "to whom?"})
    assert words(agent) == []
    forged = {**agent.sign("agent_heartbeat", {}), "sig": "0" * 64}
    assert (await agent.call("agent_heartbeat", forged))["error"] == "ENGINE_SIGNATURE_INVALID"
    await ada.act("speak", {"text": "still nobody"})
    assert words(agent) == []


async def test_however_much_an_agent_says_it_hears_everything_once(bench: AgentBench) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    for _ in range(3):
        await agent.say("agent_heartbeat", {})
    await ada.act("speak", {"text": "once"})
    assert words(agent) == [("ada", "lobby", "once")]


async def test_an_agent_that_left_while_it_was_being_proved_leaves_no_ear(
    bench: AgentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, burned = bench.agent(), asyncio.Event()
    await agent.connect()
    monkeypatch.setattr(bench.agents, "burn", lambda *_message: burned.wait())
    agent.tell("agent_heartbeat", {})
    await bench.advance(0)
    agent.lose()
    burned.set()
    await bench.advance(0)
    assert not bench.node.fanout.members("/", "lobby")


async def test_an_agent_that_is_gone_hears_no_more(bench: AgentBench) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    agent.lose()
    assert not bench.hub.has_audience(next(iter(bench.guard.roster.of("user:1"))))
    await ada.act("speak", {"text": "gone"})
    assert words(agent) == []


async def test_a_person_who_is_alone_with_an_agent_has_an_audience(bench: AgentBench) -> None:
    await bench.joined("ada")
    (socket,) = bench.guard.roster.of("user:1")
    assert not bench.hub.has_audience(socket)
    await bench.listening()
    assert bench.hub.has_audience(socket)


# -- speaking


async def test_a_word_reaches_every_socket_of_the_person_and_nobody_else(
    bench: AgentBench,
) -> None:
    agent, ada, grace = (
        await bench.listening(), await bench.joined("ada"), await bench.joined("grace")
    )  # fmt: skip
    elsewhere = await bench.in_room("ada", "attic")
    answer = await agent.say("agent_update", {**HINT, "in_reply_to": "act_1"})
    assert answer == {"ok": True, "server_time": bench.time.now_ms()}
    said = {
        "agent": "coach",
        "message": "Take your time.",
        "reason": "rapid_clicking",
        "in_reply_to": "act_1",
    }
    assert ada.heard("agent_update") == [said]
    assert elsewhere.heard("agent_update") == [said]
    assert grace.heard("agent_update") == []


async def test_what_is_said_to_people_is_audited_without_the_words(bench: AgentBench) -> None:
    agent, _ = await bench.listening(), await bench.joined("ada")
    await agent.say("agent_update", HINT)
    action, facts = bench.audited[-1]
    assert action == "agent_update"
    assert (facts["principal"], facts["target"]) == ("agent:coach", "user:1")
    assert facts["detail"] == {"reason": "rapid_clicking"}
    assert HINT["message"] not in json.dumps(facts)


@pytest.mark.parametrize("user_id", ["1", "2", "999"])
async def test_whoever_is_in_none_of_its_rooms_is_not_spoken_to(
    bench: AgentBench, user_id: str
) -> None:
    agent, ada = await bench.listening(), await bench.in_room("ada", "attic")
    answer = await agent.say("agent_update", {**HINT, "user_id": user_id})
    assert (answer["ok"], answer["error"]) == (False, "PERSON_NOT_HERE")
    assert agent.heard("agent_update_rejected")[0]["reason"] == "PERSON_NOT_HERE"
    assert bench.kinds() == ["person_not_here"]
    assert ada.heard("agent_update") == []


async def test_an_agent_without_rooms_speaks_to_nobody(bench: AgentBench) -> None:
    agent, ada = await bench.listening("deaf"), await bench.joined("ada")
    assert (await agent.say("agent_update", HINT))["error"] == "PERSON_NOT_HERE"
    assert ada.heard("agent_update") == []


BAD = [
    {"user_id": 1},
    {"user_id": "0"},
    {"user_id": "1\n"},
    {"user_id": "\u0661"},
    {"message": ""},
    {"message": "   "},
    {"message": "x" * 501},
    {"message": 7},
    {"message": "two\nlines"},
    {"message": "\u001b[31mred"},
    {"message": "turn \u202e around"},
    {"message": "paragraph\u2029"},
    {"message": "private \ue000"},
    {"reason": ""},
    {"reason": "Two Words"},
    {"reason": "x" * 65},
    {"reason": None},
    {"in_reply_to": ""},
    {"in_reply_to": "a b"},
    {"in_reply_to": None},
    {"to_everybody": True},
    {"agent": "somebody-else"},
]


@pytest.mark.parametrize("change", BAD, ids=repr)
async def test_a_word_of_another_form_is_refused(bench: AgentBench, change: dict[str, Any]) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    assert (await agent.say("agent_update", {**HINT, **change}))["error"] == "PAYLOAD_INVALID"
    assert bench.kinds() == ["payload_invalid"]
    assert ada.heard("agent_update") == []


@pytest.mark.parametrize("missing", ["user_id", "message", "reason"])
async def test_a_word_without_one_of_its_parts_is_refused(bench: AgentBench, missing: str) -> None:
    agent, _ = await bench.listening(), await bench.joined("ada")
    part = {key: value for key, value in HINT.items() if key != missing}
    assert (await agent.say("agent_update", part))["error"] == "PAYLOAD_INVALID"


@pytest.mark.parametrize("message", ["x" * 500, "Slow <b>down</b> & rest", "👩\u200d🚀 ok", "é"])
async def test_words_reach_people_as_they_are(bench: AgentBench, message: str) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    assert (await agent.say("agent_update", {**HINT, "message": message}))["ok"]
    assert ada.heard("agent_update")[0]["message"] == message


async def test_an_agent_pesters_nobody(bench: AgentBench) -> None:
    agent, ada, grace = (
        await bench.listening(), await bench.joined("ada"), await bench.joined("grace")
    )  # fmt: skip
    for _ in range(4):
        assert (await agent.say("agent_update", HINT))["ok"]
    refusal = await agent.say("agent_update", HINT)
    assert refusal["error"] == "RATE_LIMITED"
    assert refusal["retry_after_ms"] == 5_000
    assert (await agent.say("agent_update", {**HINT, "user_id": "2"}))["ok"]
    await bench.advance(5)
    assert (await agent.say("agent_update", HINT))["ok"]
    assert len(ada.heard("agent_update")) == 5
    assert len(grace.heard("agent_update")) == 1


# -- the gate


async def test_the_same_nonce_serves_a_person_and_an_agent(bench: AgentBench) -> None:
    add_service(bench, "agent", "1")
    bench.rooms["1"] = ["lobby"]
    agent, ada = await bench.listening("1"), await bench.joined("ada")
    nonce = "n" * 30
    assert (await ada.act("speak", {"text": "mine"}, nonce=nonce))["ok"]
    assert (await agent.say("agent_heartbeat", {}, nonce=nonce))["ok"]
    replayed = await agent.say("agent_heartbeat", {}, nonce=nonce)
    assert replayed["error"] == "ENGINE_NONCE_REPLAY"
    assert (await ada.act("speak", {"text": "again"}, nonce=nonce))["error"] == "replay_detected"


def unsigned(_peer: AgentPeer, good: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in good.items() if key != "sig"}


def bare(_peer: AgentPeer, good: dict[str, Any]) -> Any:
    return json.loads(good["payload"])


def signed_by_another_key(_peer: AgentPeer, good: dict[str, Any]) -> dict[str, Any]:
    return {**good, "sig": ("0" if good["sig"][0] != "0" else "1") + good["sig"][1:]}


def of_another_event(peer: AgentPeer, good: dict[str, Any]) -> dict[str, Any]:
    return peer.sign("agent_heartbeat", good["payload"])


def too_old(peer: AgentPeer, good: dict[str, Any]) -> dict[str, Any]:
    return peer.sign("agent_update", good["payload"], ts=peer.bench.time.now_ms() - 30_001)


def in_the_other_direction(peer: AgentPeer, good: dict[str, Any]) -> dict[str, Any]:
    facts = {key: value for key, value in good.items() if key != "sig"}
    return {**facts, "sig": peer.heard_key.sign(type="agent_update", **facts)}


@pytest.mark.parametrize(
    ("twist", "code"),
    [
        (unsigned, "ENGINE_PACKET_INCOMPLETE"),
        (bare, "ENGINE_PACKET_INCOMPLETE"),
        (signed_by_another_key, "ENGINE_SIGNATURE_INVALID"),
        (of_another_event, "ENGINE_SIGNATURE_INVALID"),
        (in_the_other_direction, "ENGINE_SIGNATURE_INVALID"),
        (too_old, "ENGINE_TIMESTAMP_EXPIRED"),
    ],
)
async def test_a_message_that_is_not_authentic_says_nothing(
    bench: AgentBench, twist: Any, code: str
) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    good = agent.sign("agent_update", HINT)
    assert (await agent.call("agent_update", twist(agent, good)))["error"] == code
    assert bench.kinds() == [code.lower()]
    assert ada.heard("agent_update") == []
    assert (await agent.call("agent_update", good))["ok"]


async def test_a_window_of_thirty_seconds_includes_its_edges(bench: AgentBench) -> None:
    agent, now = await bench.listening(), bench.time.now_ms()
    for ts in (now - 30_000, now + 30_000):
        assert (await agent.say("agent_heartbeat", {}, ts=ts))["ok"]


@pytest.mark.parametrize("event", ["action", "engine_ready", "action_update", "feed", ""])
async def test_what_agents_have_no_word_for_is_refused(bench: AgentBench, event: str) -> None:
    agent = await bench.listening()
    answer = await agent.call(event, agent.sign("agent_heartbeat", {}))
    assert answer["error"] == "ENGINE_PACKET_INCOMPLETE"


async def test_forgeries_spend_the_budget_of_the_connection(bench: AgentBench) -> None:
    agent = await bench.listening()
    await bench.advance(6)
    for _ in range(4):
        forged = signed_by_another_key(agent, agent.sign("agent_update", HINT))
        await agent.call("agent_update", forged)
    assert agent.wires.code == 4429
    assert bench.guard.penalties.is_penalised(session_key(bench.people["coach"]), bench.time.now)


# -- time


async def test_a_silent_agent_is_gone_and_one_that_beats_is_not(bench: AgentBench) -> None:
    silent, beating = await bench.listening(), await bench.listening()
    for _ in range(10):
        await bench.advance(9.5)
        await beating.say("agent_heartbeat", {})
    assert silent.wires.code == 4408
    assert beating.wires.code is None


async def test_a_newer_token_prolongs_the_stay(bench: AgentBench) -> None:
    agent = await bench.listening()
    bench.renew("coach-later", of="coach", expires_at=bench.time.now_ms() + 3_600_000)
    answer = await agent.say("reauth", {"token": "coach-later"})
    assert answer["token_expires_at"] == bench.time.now_ms() + 3_600_000
    for _ in range(5):
        await bench.advance(80)
        await agent.say("agent_heartbeat", {})
    assert agent.wires.code is None


async def test_another_agents_token_prolongs_nothing(bench: AgentBench) -> None:
    agent = await bench.listening()
    assert (await agent.say("reauth", {"token": "deaf"}))["error"] == "AUTH_INVALID"
    assert bench.incidents[-1].kind == "auth_bypass_attempt"


async def test_an_account_that_ends_takes_its_sockets_along(bench: AgentBench) -> None:
    agent, other = await bench.listening(), await bench.listening("deaf")
    bench.hub.kicks._on_service_ended(kind="agent", name="coach", because="disabled")
    await bench.advance(0)
    assert agent.wires.code == 4401
    assert other.wires.code is None


async def test_rooms_that_were_changed_unheard_end_the_socket_within_half_a_minute(
    bench: AgentBench,
) -> None:
    agent, other = await bench.listening(), await bench.listening("deaf")
    bench.rooms["coach"] = ["garden"]
    await bench.advance(30)
    assert (agent.wires.code, other.wires.code) == (4401, None)
    bench.rooms["deaf"] = ["lobby"]
    await bench.advance(30)
    assert other.wires.code == 4401


async def test_an_agent_that_is_about_to_be_greeted_has_no_rooms_yet(bench: AgentBench) -> None:
    agent = await bench.listening()
    (socket,) = bench.guard.roster.of("agent:coach")
    socket.state.rooms, socket.state.greeted = (), False
    await bench.advance(30)
    assert agent.wires.code is None


async def test_a_database_that_does_not_answer_ends_nobody(
    bench: AgentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await bench.listening()

    def down(_names: set[str]) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(grants, "rooms_by_agent", down)
        await bench.advance(30)
    assert agent.wires.code is None
    bench.rooms["coach"] = []
    await bench.advance(30)
    assert agent.wires.code == 4401


def spoken(peer: AgentPeer) -> list[tuple[str, Any]]:
    """Every event that reached the agent, by name."""
    frames = [each for each in peer.texts() if each.startswith("42/agent,")]
    return [tuple(json.loads(each.partition(",")[2])) for each in frames]
