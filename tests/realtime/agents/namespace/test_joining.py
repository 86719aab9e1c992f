"""Only an agent's own token opens "/agent", and never in a browser."""

import pytest

from tests.realtime.agents.agent_bench import AgentBench
from tests.realtime.services_bench import add_service


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
