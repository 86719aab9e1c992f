"""One world from submission to artifact, through the public verbs of the dispatcher."""

from typing import Any

import pytest

from engine import dispatcher
from engine.dispatch import assign
from engine.models import Build, EngineSession, Job, JobEvent

pytestmark = pytest.mark.django_db


def test_a_world_of_twelve_entities_becomes_fourteen_jobs_in_three_stages(bench: Any) -> None:
    outcome = dispatcher.submit(bench.person(), bench.world(12), now=bench.now)
    jobs = outcome.reply["jobs"]
    assert isinstance(jobs, list)
    assert [job["stage"] for job in jobs] == [0, 1] + [2] * 12
    assert {job["job_type"] for job in jobs[2:]} == {"SPAWN_ENTITY"}
    assert outcome.assignable
    assert outcome.feed_users == {bench.person()}


def test_a_world_is_built_stage_by_stage_and_told_exactly_once(bench: Any) -> None:
    bench.engine(capacity=4)
    build = bench.submit()
    ran = bench.run_all()
    assert [job.body["job_type"] for job in ran] == (
        ["BUILD_SCENE", "LOAD_ASSETS"] + ["SPAWN_ENTITY"] * 12
    )
    assert [job.body["execution_params"]["finish"] for job in ran] == [False] * 13 + [True]
    build.refresh_from_db()
    assert (build.state, build.completed, build.failed) == ("completed", 14, 0)
    assert len(bench.events(event="world_update")) == 1


def test_the_finishing_job_is_dispatched_alone_and_last(bench: Any) -> None:
    bench.engine(capacity=100)
    bench.submit(entities=5)
    batches = []
    while batch := bench.assign():
        batches.append(len(batch))
        for job in batch:
            bench.run(job)
    assert batches == [1, 1, 4, 1]


def test_the_feed_tells_each_move_in_order_and_the_world_last(bench: Any) -> None:
    bench.engine()
    build = bench.submit(entities=1)
    bench.run_all()
    told = [(each["event"], each.get("status")) for each in bench.events()]
    job = [("job_status", "dispatched"), ("job_status", "running"), ("job_status", "completed")]
    running = ("build_status", "running")
    assert told == [
        ("build_status", "queued"),
        job[0], running, job[1], job[2], running,
        *job, running,
        *job, ("build_status", "completed"),
        ("world_update", None),
    ]  # fmt: skip
    assert [each["seq"] for each in bench.events()] == list(range(1, len(told) + 1))
    assert bench.events(event="world_update")[0] == {
        "event": "world_update",
        "seq": len(told),
        "epoch": bench.events()[0]["epoch"],
        "build_id": build.id,
        "world": {"id": "world_harbour", "name": "Harbour", "gravity": [0, -9.81, 0]},
        "scene": {"id": "scene_quay", "ambientLight": [0.5, 0.5, 0.5], "skybox": "dusk"},
        "artifact_url": None,
    }


def test_a_job_status_has_every_field_of_the_contract(bench: Any) -> None:
    bench.engine()
    bench.submit(entities=1)
    bench.run(bench.assign()[0])
    told = bench.events(event="job_status")[-1]
    at = int(bench.now.timestamp() * 1000)
    assert {key: told[key] for key in ("status", "attempt", "progress")} == {
        "status": "completed",
        "attempt": 1,
        "progress": 100,
    }
    for key in ("queued_at", "dispatched_at", "started_at", "finished_at"):
        assert told[key] == at
    assert "error" not in told


def test_an_engine_job_has_the_specification_at_the_beginning_and_at_the_end(bench: Any) -> None:
    bench.engine()
    build = bench.submit(entities=2)
    ran = bench.run_all()
    assert [job.body["world_spec"] is not None for job in ran] == [True, False, False, True]
    body = ran[0].body
    assert set(body) == {
        "job_id", "attempt_id", "job_type", "payload", "world_spec", "execution_params",
        "build_id", "world_sha256", "submitted_at", "user_id",
    }  # fmt: skip
    assert body["world_spec"] == bench.world(2).spec
    assert body["world_sha256"] == build.world_sha256
    assert body["execution_params"] == {
        "priority": "normal",
        "timeout_ms": 120_000,
        "lease_ms": 10_000,
        "finish": False,
    }
    assert ran[-1].body["execution_params"]["timeout_ms"] == 300_000


def test_a_large_specification_is_named_by_its_digest_only(bench: Any) -> None:
    bench.engine()
    build = bench.submit(entities=400)
    assert len(build.world_text) > 64 * 1024
    (job,) = bench.assign()
    assert job.body["world_spec"] is None
    assert job.body["world_sha256"] == build.world_sha256


def test_jobs_wait_while_there_is_no_engine(bench: Any) -> None:
    bench.submit()
    assert bench.assign() == []
    assert bench.events(event="build_status")[0]["engine_online"] is False
    bench.engine()
    assert len(bench.assign()) == 1


def test_an_engine_gets_no_more_than_its_capacity(bench: Any) -> None:
    bench.engine(capacity=3)
    bench.submit()
    bench.run(bench.assign()[0])
    bench.run(bench.assign()[0])
    assert len(bench.assign()) == 3
    assert bench.assign() == []


def test_an_engine_gets_only_the_types_it_announced(bench: Any) -> None:
    bench.engine(job_types=["SPAWN_ENTITY"])
    bench.submit()
    assert bench.assign() == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_first_places_go_by_turn(bench: Any, limit: int) -> None:
    ada, grace = bench.person("ada"), bench.person("grace")
    first = bench.submit(ada)
    bench.later(1)
    second = bench.submit(ada)
    bench.later(1)
    other = bench.submit(grace)
    bench.engine(capacity=10)
    got = {job.body["build_id"] for job in bench.assign(limit)}
    assert got == set([first.id, other.id, second.id][:limit])


def test_high_priority_overtakes(bench: Any) -> None:
    bench.submit()
    urgent = bench.submit(priority="high", staff=True)
    bench.engine()
    assert [job.body["build_id"] for job in bench.assign(1)] == [urgent.id]


def test_a_build_stays_with_its_engine_and_moves_when_that_drains(bench: Any) -> None:
    forge = bench.engine("forge", capacity=1)
    bench.submit()
    (job,) = bench.assign()
    assert job.engine_session_id == forge
    anvil = bench.engine("anvil", capacity=8)
    bench.run(job)
    assert [each.engine_session_id for each in bench.assign()] == [forge]
    dispatcher.engine_draining(forge, now=bench.now)
    bench.run(job_of(bench, forge))
    assert {each.engine_session_id for each in bench.assign()} == {anvil}


def job_of(bench: Any, session: str) -> Any:
    """The delivery of the one job that an engine holds."""
    held = Job.objects.get(engine_session=session, state__in=["dispatched", "running"])
    sent = [each for outcome in bench.outcomes for each in outcome.deliveries]
    return next(each for each in sent if each.body["attempt_id"] == held.attempt_id)


def test_a_stored_job_that_was_tampered_with_never_reaches_an_engine(bench: Any) -> None:
    bench.engine()
    build = bench.submit()
    Job.objects.filter(build=build, stage=0).update(payload={"scene_id": "../../etc/passwd"})
    assert bench.assign() == []
    build.refresh_from_db()
    assert (build.state, build.error_code) == ("failed", "job_refused")


def test_each_move_has_a_row_in_the_history(bench: Any) -> None:
    bench.engine()
    bench.submit(entities=1)
    (job,) = bench.assign()
    dispatcher.report_ack(*bench.claim(job), now=bench.now)
    bench.run(job)
    rows = JobEvent.objects.filter(job=job.body["job_id"])
    assert [(row.event, row.from_state, row.to_state, row.engine) for row in rows] == [
        ("dispatch", "queued", "dispatched", "forge"),
        ("ack", "dispatched", "dispatched", "forge"),
        ("start", "dispatched", "running", "forge"),
        ("complete", "running", "completed", "forge"),
    ]


def test_a_session_without_announcement_gets_nothing(bench: Any) -> None:
    bench.engine(capacity=0)
    bench.submit()
    assert bench.assign() == []
    assert EngineSession.objects.get().capacity == 0
    assert Build.objects.get().state == "queued"


def test_a_build_that_another_process_bound_meanwhile_is_left_to_that_engine(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.engine("forge", capacity=4)
    build = bench.submit()
    choose = assign._choose

    def slowly(*asked: Any) -> Any:
        chosen = choose(*asked)
        Build.objects.filter(pk=build.pk).update(engine_name="anvil")
        return chosen

    with monkeypatch.context() as patch:
        patch.setattr(assign, "_choose", slowly)
        assert bench.assign() == []
    bench.engine("anvil", capacity=4)
    (job,) = bench.assign()
    assert bench.job(job).engine_session.name == "anvil"
