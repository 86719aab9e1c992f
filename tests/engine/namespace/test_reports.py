"""What engines report reaches the dispatcher, and what it refuses reaches the engine."""

from typing import Any

import pytest
from django.db import OperationalError

from engine.outcome import Outcome
from security.refusals import Refused
from tests.engine.engine_bench import ERROR, IDS, SAYS, EngineBench, is_refused


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
