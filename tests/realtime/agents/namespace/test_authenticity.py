"""What an agent says counts when it is authentic, fresh and known."""

import json
from typing import Any

import pytest

from realtime.guard import session_key
from tests.realtime.agents.agent_bench import HINT, AgentBench, AgentPeer
from tests.realtime.guarded import LateNonces, settle
from tests.realtime.services_bench import add_service


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


async def test_who_was_closed_before_the_store_answered_says_nothing_more(
    bench: AgentBench,
) -> None:
    agent, ada = await bench.listening(), await bench.joined("ada")
    nonces = bench.agents.gate._nonces = LateNonces()
    await agent.call("agent_update", agent.sign("agent_update", HINT))
    agent.session.close(4401)
    nonces.opened.set()
    await settle()
    assert ada.heard("agent_update") == []
    assert bench.incidents[-1].detail["reason"] == "left"
