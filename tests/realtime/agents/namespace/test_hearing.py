"""Agents hear their rooms and no others, each word once and signed."""

import asyncio
import json
from typing import Any

import pytest

from tests.realtime.agents.agent_bench import AgentBench, AgentPeer


def words(peer: AgentPeer) -> list[Any]:
    """What an agent has heard, each envelope verified: who, where, which words."""
    heard = peer.opened("action_update")
    return [(each["username"], each["room"], each["payload"]["text"]) for each in heard]


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


def spoken(peer: AgentPeer) -> list[tuple[str, Any]]:
    """Every event that reached the agent, by name."""
    frames = [each for each in peer.texts() if each.startswith("42/agent,")]
    return [tuple(json.loads(each.partition(",")[2])) for each in frames]
