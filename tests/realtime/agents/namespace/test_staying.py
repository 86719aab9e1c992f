"""An agent stays as long as it beats, and its token, account and rooms are what they were."""

import pytest
from django.db import OperationalError

from security import grants
from tests.realtime.agents.agent_bench import AgentBench


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
