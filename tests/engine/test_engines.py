"""Engines that connect, announce themselves, come back, drain and go."""

from typing import Any

import pytest

from engine import dispatcher, views
from engine.models import EngineSession
from security.refusals import Refused

pytestmark = pytest.mark.django_db


def listed(*jobs: Any) -> list[dict[str, str]]:
    return [{key: str(job.body[key]) for key in ("job_id", "attempt_id")} for job in jobs]


def two_running(bench: Any) -> list[Any]:
    bench.submit(bench.person("ada"))
    bench.submit(bench.person("grace"))
    jobs = bench.assign()
    for job in jobs:
        bench.start(job)
    return list(jobs)


def test_a_second_connection_replaces_the_first(bench: Any) -> None:
    first = bench.engine()
    outcome = dispatcher.engine_connected("forge", node="node-2", sid_hash="f" * 64, now=bench.now)
    assert outcome.reply["replaced"] == [{"engine_session_id": first, "node": "node-1"}]
    assert outcome.engines_changed
    assert EngineSession.objects.get(pk=first).state == "lost"
    assert EngineSession.objects.filter(closed_at=None).count() == 1


def test_a_replaced_connection_can_say_nothing_more(bench: Any) -> None:
    first = bench.engine()
    bench.engine()
    for call in (
        lambda: bench.beat(first),
        lambda: dispatcher.engine_draining(first, now=bench.now),
        lambda: dispatcher.engine_resume(first, [], now=bench.now),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "TRY_AGAIN"
    assert dispatcher.engine_closed(first, now=bench.now).engines_changed is False


def test_resume_binds_what_is_listed_and_releases_what_is_not(bench: Any) -> None:
    bench.engine()
    kept, forgotten = two_running(bench)
    session = bench.engine(capacity=0)
    outcome = dispatcher.engine_resume(session, listed(kept), now=bench.now)
    assert outcome.reply == {"resumed": [kept.body["job_id"]]}
    assert outcome.assignable
    row = bench.job(kept)
    assert (row.state, row.engine_session_id, row.attempt) == ("running", session, 1)
    row = bench.job(forgotten)
    assert (row.state, row.losses, row.not_before) == ("queued", 1, None)
    dispatcher.report_completed(session, *bench.claim(kept)[1:], {}, now=bench.now)
    assert bench.job(kept).state == "completed"


def test_before_it_resumes_an_engine_reports_nothing_of_its_old_jobs(bench: Any) -> None:
    bench.engine()
    kept, _ = two_running(bench)
    session = bench.engine(capacity=0)
    with pytest.raises(Refused) as caught:
        dispatcher.report_completed(session, *bench.claim(kept)[1:], {}, now=bench.now)
    assert caught.value.code == "JOB_NOT_YOURS"


def test_resume_aborts_what_the_engine_does_not_hold(bench: Any) -> None:
    bench.engine()
    lapsed, _ = two_running(bench)
    bench.later(15)
    session = bench.engine(capacity=0)
    unknown = {"job_id": "j_none", "attempt_id": "a_none"}
    outcome = dispatcher.engine_resume(session, [*listed(lapsed), unknown], now=bench.now)
    assert outcome.reply == {"resumed": []}
    aborted = [each.body["job_id"] for each in outcome.deliveries if each.event == "job_abort"]
    assert aborted == [lapsed.body["job_id"], "j_none"]
    assert {each.engine_session_id for each in outcome.deliveries} == {session}


def test_another_engine_cannot_resume_a_job(bench: Any) -> None:
    bench.engine()
    jobs = two_running(bench)
    thief = bench.engine("anvil")
    outcome = dispatcher.engine_resume(thief, listed(*jobs), now=bench.now)
    assert outcome.reply == {"resumed": []}
    assert len(outcome.deliveries) == 2
    assert {bench.job(job).state for job in jobs} == {"running"}


def test_resume_does_not_touch_what_this_connection_was_given_meanwhile(bench: Any) -> None:
    session = bench.engine()
    jobs = two_running(bench)
    dispatcher.engine_resume(session, [], now=bench.now)
    assert {bench.job(job).state for job in jobs} == {"running"}


def test_a_cancel_is_repeated_to_an_engine_that_came_back(bench: Any) -> None:
    bench.engine()
    kept, _ = two_running(bench)
    owner = bench.job(kept).build.user_id
    dispatcher.cancel_job(owner, str(kept.body["job_id"]), now=bench.now)
    session = bench.engine(capacity=0)
    outcome = dispatcher.engine_resume(session, listed(kept), now=bench.now)
    aborts = [each.body["reason"] for each in outcome.deliveries]
    assert aborts == ["cancelled"]


def test_a_closed_engine_keeps_its_jobs_until_the_lease_decides(bench: Any) -> None:
    session = bench.engine()
    jobs = two_running(bench)
    outcome = dispatcher.engine_closed(session, now=bench.now)
    assert outcome.engines_changed
    assert {bench.job(job).state for job in jobs} == {"running"}
    assert views.engine_status(now=bench.now)["engines"] == [
        {
            "name": "forge",
            "state": "lost",
            "busy": 2,
            "capacity": 4,
            "last_seen": int(bench.now.timestamp() * 1000),
        }
    ]


def test_a_draining_engine_gets_no_new_jobs_and_may_end_its_own(bench: Any) -> None:
    session = bench.engine()
    bench.submit()
    (job,) = bench.assign()
    dispatcher.engine_draining(session, now=bench.now)
    bench.run(job)
    assert bench.assign() == []
    bench.beat(session)
    assert EngineSession.objects.get().state == "draining"
    assert views.engine_online() is False


def test_engine_status_shows_ready_busy_and_waiting_jobs(bench: Any) -> None:
    bench.engine(capacity=1)
    bench.submit(entities=1)
    before = views.engine_status(now=bench.now)
    bench.assign()
    after = views.engine_status(now=bench.now)
    assert [before["waiting_jobs"], after["waiting_jobs"]] == [3, 2]
    assert [each["engines"][0]["state"] for each in (before, after)] == ["ready", "busy"]
    assert after["online"] is True
    assert after["engines"][0]["busy"] == 1


@pytest.mark.parametrize(
    "said",
    [
        {"capacity": 0},
        {"capacity": True},
        {"capacity": "4"},
        {"capacity": 5_000},
        {"job_types": []},
        {"job_types": ["build_scene"]},
        {"job_types": [1]},
        {"job_types": "SPAWN_ENTITY"},
        {"version": 1},
        {"version": "x" * 65},
    ],
)
def test_a_wrong_announcement_is_refused(bench: Any, said: dict[str, object]) -> None:
    session = bench.engine(capacity=0)
    right = {"capacity": 1, "job_types": ["SPAWN_ENTITY"], "version": "1"}
    with pytest.raises(Refused) as caught:
        dispatcher.engine_ready(session, **{**right, **said}, now=bench.now)
    assert caught.value.code == "PAYLOAD_INVALID"
    assert EngineSession.objects.get().capacity == 0


@pytest.mark.parametrize("attempts", [None, {}, [1], [{"attempt_id": 1}], [["a_x"]], ["a"] * 1_025])
def test_a_wrong_list_of_attempts_is_refused(bench: Any, attempts: object) -> None:
    session = bench.engine()
    for call in (dispatcher.heartbeat, dispatcher.engine_resume):
        with pytest.raises(Refused) as caught:
            call(session, attempts, now=bench.now)
        assert caught.value.code == "PAYLOAD_INVALID"


def test_a_process_that_stops_leaves_no_connection_open_and_no_job_behind(bench: Any) -> None:
    bench.engine("forge")
    bench.submit()
    (job,) = bench.assign()
    elsewhere = bench.engine("anvil")
    EngineSession.objects.filter(pk=elsewhere).update(node="node-2")
    assert dispatcher.process_stopped("node-1", now=bench.now).engines_changed
    states = dict(EngineSession.objects.values_list("name", "state"))
    assert states == {"forge": "lost", "anvil": "ready"}
    assert bench.job(job).state == "dispatched"
    assert not dispatcher.process_stopped("node-1", now=bench.now).engines_changed
