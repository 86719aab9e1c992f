"""One connection of an engine counts at a time, and what the hub says to it is signed."""

import pytest

from engine.dispatch.engines import CONNECTION_CLOSED, CONNECTION_REPLACED
from engine.outcome import Outcome
from security.refusals import Refused
from tests.engine.engine_bench import IDS, SAYS, EngineBench, connected
from tests.realtime.guarded import settle


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
