"""Hostile engines over real sockets: forged, replayed and nonsensical reports."""

import json
from typing import Any

import pytest

from tests.hostile.cases_engines import BODIES, CONTENTS, IDS, TRICKS, UNKNOWN_EVENTS, Trick
from tests.hostile.cases_worlds import SPEC
from tests.hostile.raw import Member
from tests.hostile.stage import Stage

pytestmark = pytest.mark.xdist_group("hostile")


@pytest.mark.parametrize("trick", [*TRICKS, *CONTENTS], ids=lambda trick: trick.name)
async def test_a_hostile_report_is_refused_once_and_the_engine_goes_on(
    stage: Stage, bystander: Member, trick: Trick
) -> None:
    error = "AUTH_INVALID" if trick.error == "auth_bypass_attempt" else trick.error
    ip = stage.address({trick.error.lower(): 1})
    async with stage.member(stage.engine(), ip) as engine:
        answer = await engine.report(trick.event, trick.forge(stage, engine))
        assert (answer["ok"], answer["error"]) == (False, error)
        name = "status_rejected" if trick.event == "job_status" else f"{trick.event}_rejected"
        await engine.until(lambda frame: f'["{name}"' in frame and error in frame)
        assert (await engine.report("telemetry", engine.sign("telemetry", {})))["ok"] is True
    stage.assert_clean("".join(engine.frames))


@pytest.mark.parametrize("event", sorted(set(BODIES) - {"reauth"}))
async def test_a_report_works_once(stage: Stage, bystander: Member, event: str) -> None:
    kinds = {"engine_nonce_replay": 1, "job_unknown": event.startswith("job_")}
    ip = stage.address({kind: int(count) for kind, count in kinds.items()})
    async with stage.member(stage.engine(), ip) as engine:
        envelope = engine.sign(event, BODIES[event])
        first = await engine.report(event, envelope)
        assert first.get("error", "") == ("JOB_UNKNOWN" if event.startswith("job_") else "")
        assert (await engine.report(event, envelope))["error"] == "ENGINE_NONCE_REPLAY"


@pytest.mark.parametrize("event", UNKNOWN_EVENTS)
async def test_an_event_that_engines_do_not_have_is_incomplete(
    stage: Stage, bystander: Member, event: Any
) -> None:
    ip = stage.address({"engine_packet_incomplete": 1})
    async with stage.member(stage.engine(), ip) as engine:
        answer = await engine.report(event, engine.sign(str(event), {}))
        assert answer["error"] == "ENGINE_PACKET_INCOMPLETE"


@pytest.mark.parametrize("offset_ms", [-27_000, 27_000])
async def test_the_window_of_engines_is_thirty_seconds(
    stage: Stage, bystander: Member, offset_ms: int
) -> None:
    async with stage.member(stage.engine(), stage.address({})) as engine:
        envelope = engine.sign("telemetry", {}, ts=engine.now_ms() + offset_ms)
        assert (await engine.report("telemetry", envelope))["ok"] is True


async def test_a_second_connection_replaces_the_first_only_after_its_proof(
    stage: Stage, bystander: Member
) -> None:
    ip = stage.address({"engine_signature_invalid": 1})
    who = stage.cast["engine0"]
    async with stage.member(who, stage.address({})) as owner, stage.member(who, ip) as thief:
        assert (await owner.report("telemetry", owner.sign("telemetry", {})))["ok"] is True
        forged = thief.sign("telemetry", {}, key=thief.key_for(secret=stage.person()["secret"]))
        assert (await thief.report("telemetry", forged))["error"] == "ENGINE_SIGNATURE_INVALID"
        assert (await owner.report("telemetry", owner.sign("telemetry", {})))["ok"] is True
        assert (await thief.report("telemetry", thief.sign("telemetry", {})))["ok"] is True
        assert await owner.closed() == 4409


# Reports about a job that is really running: what is sent, by whom, and the refusal.
IMPOSSIBLE: list[tuple[str, dict[str, Any], str]] = [
    *(
        ("job_progress", {"progress": progress}, "PAYLOAD_INVALID")
        for progress in (-1, 101, 50.5, "50", True, None, [50])
    ),
    ("job_progress", {"progress": 5, "status": "completed"}, "PAYLOAD_INVALID"),
    ("job_completed", {"result": "done"}, "PAYLOAD_INVALID"),
    ("job_failed", {"error": "broken"}, "PAYLOAD_INVALID"),
    ("job_completed", {"result": {}, "attempt_id": "att_old"}, "STALE_ATTEMPT"),
    ("job_progress", {"progress": 5, "job_id": "job_nowhere"}, "JOB_UNKNOWN"),
]


async def test_a_running_job_is_moved_by_nothing_but_its_own_engines_truth(
    stage: Stage, bystander: Member
) -> None:
    kinds: dict[str, int] = {"job_not_yours": 1}
    for _, _, error in IMPOSSIBLE:
        kinds[error.lower()] = kinds.get(error.lower(), 0) + 1
    quiet, ip = stage.address({}), stage.address(kinds)
    owner = stage.member(stage.person(), quiet)
    async with (
        owner,
        stage.member(stage.cast["engine1"], ip) as engine,
        stage.member(stage.cast["engine2"], ip) as other,
    ):
        ready = engine.sign("engine_ready", BODIES["engine_ready"])
        assert (await engine.report("engine_ready", ready))["ok"] is True
        build = await owner.act(owner.sign("generate_world", {"spec": SPEC}))
        assert build["ok"] is True
        frame = await engine.until(lambda each: '["engine_job"' in each)
        job = json.loads(json.loads(frame[frame.index("[") :])[1]["payload"])
        ids = {key: job[key] for key in IDS}
        for event in ("job_ack", "job_started"):
            assert (await engine.report(event, engine.sign(event, ids)))["ok"] is True
        running = stage.domain()
        for event, body, error in IMPOSSIBLE:
            answer = await engine.report(event, engine.sign(event, {**ids, **body}))
            assert (answer["ok"], answer["error"]) == (False, error), (event, body)
        theft = other.sign("job_completed", {**ids, "result": {}})
        assert (await other.report("job_completed", theft))["error"] == "JOB_NOT_YOURS"
        assert stage.domain() == running
        progress = engine.sign("job_progress", {**ids, "progress": 60})
        assert (await engine.report("job_progress", progress))["ok"] is True
        cancel = owner.sign("build_cancel", {"build_id": build["build_id"]})
        assert (await owner.act(cancel))["ok"] is True
        await engine.until(lambda each: '["job_abort"' in each)
        error = {"code": "cancelled", "message": "as asked", "retryable": False}
        failed = engine.sign("job_failed", {**ids, "error": error})
        assert (await engine.report("job_failed", failed))["ok"] is True
    stage.calm = stage.domain()


async def test_a_job_is_completed_once_with_one_result(stage: Stage, bystander: Member) -> None:
    kinds = {"conflicting_completion": 1, "invalid_transition": 3}
    quiet, ip = stage.address({}), stage.address(kinds)
    async with (
        stage.member(stage.person(), quiet) as owner,
        stage.member(stage.cast["engine3"], ip) as engine,
    ):

        async def report(event: str, **body: Any) -> dict[str, Any]:
            return await engine.report(event, engine.sign(event, {**ids, **body}))

        ready = engine.sign("engine_ready", BODIES["engine_ready"])
        assert (await engine.report("engine_ready", ready))["ok"] is True
        build = await owner.act(owner.sign("generate_world", {"spec": SPEC}))
        frame = await engine.until(lambda each: '["engine_job"' in each)
        job = json.loads(json.loads(frame[frame.index("[") :])[1]["payload"])
        ids = {key: job[key] for key in IDS}
        for event in ("job_ack", "job_started"):
            assert (await report(event))["ok"] is True
        assert (await report("job_completed", result={"scene": "a"}))["ok"] is True
        done = stage.domain()
        again = await report("job_completed", result={"scene": "a"})
        assert (again["ok"], again["duplicate"]) == (True, True)
        other = await report("job_completed", result={"scene": "b"})
        assert other["error"] == "CONFLICTING_COMPLETION"
        fault = {"code": "x", "message": "y", "retryable": True}
        for event, body in (
            ("job_started", {}),
            ("job_progress", {"progress": 99}),
            ("job_failed", {"error": fault}),
        ):
            assert (event, (await report(event, **body))["error"]) == (event, "INVALID_TRANSITION")
        assert stage.domain() == done
        cancel = owner.sign("build_cancel", {"build_id": build["build_id"]})
        assert (await owner.act(cancel))["ok"] is True
    stage.calm = stage.domain()


async def test_the_books_are_right(stage: Stage) -> None:
    assert stage.differences() == {}
    assert stage.domain() == stage.calm
    stage.assert_clean(stage.hub.output)
