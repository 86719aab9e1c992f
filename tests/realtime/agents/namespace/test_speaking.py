"""Agents speak only to those who are in their rooms, in few plain words."""

import json
from typing import Any

import pytest

from tests.realtime.agents.agent_bench import HINT, AgentBench


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
