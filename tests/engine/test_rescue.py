"""Leases, losses and longest runs: no accepted job is ever lost."""

from datetime import timedelta
from typing import Any

import pytest

from engine import dispatcher, views
from engine.leases import STARTS_WITHIN_S
from engine.models import Build, EngineSession, Job, JobEvent

pytestmark = pytest.mark.django_db

WEEK_S = 7 * 24 * 3600


def test_nothing_is_rescued_before_its_lease_is_over(bench: Any) -> None:
    bench.engine()
    bench.submit()
    (job,) = bench.assign()
    outcome = dispatcher.rescue(bench.later(9.999))
    assert outcome.reply == {"rescued": 0, "more": False}
    assert bench.job(job).state == "dispatched"


def test_a_job_that_its_engine_neglects_counts_as_an_attempt(bench: Any) -> None:
    session = bench.engine()
    build = bench.submit()
    for attempt in (1, 2, 3):
        (job,) = bench.assign()
        assert bench.job(job).attempt == attempt
        bench.later(10)
        bench.beat(session)
        outcome = dispatcher.rescue(bench.now)
        assert outcome.reply["rescued"] == 1
        assert outcome.deliveries[0].event == "job_abort"
        bench.later(6)
        bench.beat(session)
    row = bench.job(job)
    assert (row.state, row.error_code, row.losses) == ("failed", "lease_lapsed", 0)
    build.refresh_from_db()
    assert build.state == "failed"


def test_a_lost_engine_does_not_count_as_an_attempt_but_five_are_enough(bench: Any) -> None:
    bench.submit()
    for losses in range(1, 7):
        session = bench.engine()
        (job,) = bench.assign()
        bench.start(job)
        dispatcher.engine_closed(session, now=bench.now)
        assert bench.job(job).state == "running"
        dispatcher.rescue(bench.later(15))
        assert bench.job(job).losses == min(losses, 5)
    assert (bench.job(job).state, bench.job(job).error_code) == ("failed", "engine_lost")


def test_a_job_that_runs_too_long_is_taken_away_however_often_it_reports(bench: Any) -> None:
    session = bench.engine()
    bench.submit()
    (job,) = bench.assign()
    bench.start(job)
    for _ in range(12):
        bench.later(10)
        bench.beat(session, str(job.body["attempt_id"]))
    outcome = dispatcher.rescue(bench.now)
    assert outcome.deliveries[0].body["reason"] == "ran_too_long"
    assert bench.job(job).state == "queued"
    assert JobEvent.objects.filter(event="release").get().detail["reason"] == "ran_too_long"


def test_a_silent_engine_is_shown_as_such_and_gets_nothing_until_it_beats(bench: Any) -> None:
    session = bench.engine()
    bench.submit()
    outcome = dispatcher.rescue(bench.later(10.5))
    assert outcome.engines_changed
    assert EngineSession.objects.get().state == "silent"
    assert bench.assign() == []
    assert views.engine_online() is False
    assert bench.beat(session).assignable
    assert len(bench.assign()) == 1


def test_an_engine_whose_process_died_is_lost_in_the_end(bench: Any) -> None:
    bench.engine()
    dispatcher.rescue(bench.later(60))
    dispatcher.rescue(bench.later(61))
    session = EngineSession.objects.get()
    assert (session.state, session.closed_at) == ("lost", bench.now)


def test_a_hundred_are_rescued_at_a_time(bench: Any) -> None:
    bench.engine(capacity=150)
    bench.submit(entities=150)
    bench.run(bench.assign()[0])
    bench.run(bench.assign()[0])
    assert len(bench.assign(200)) == 149
    bench.later(10)
    seen = []
    while True:
        outcome = dispatcher.rescue(bench.now)
        seen.append(outcome.reply["rescued"])
        if not outcome.reply["more"]:
            break
    assert seen == [100, 49]
    assert not Job.objects.filter(state="dispatched").exists()


def test_queued_jobs_are_never_touched(bench: Any) -> None:
    bench.submit()
    before = list(Job.objects.order_by("pk").values())
    session = bench.engine(capacity=0)
    dispatcher.engine_closed(session, now=bench.now)
    dispatcher.rescue(bench.later(3600))
    assert list(Job.objects.order_by("pk").values()) == before


def test_the_last_failed_job_of_a_batch_takes_its_siblings_with_it(bench: Any) -> None:
    session = bench.engine(capacity=4)
    build = bench.submit(entities=4)
    bench.run(bench.assign()[0])
    bench.run(bench.assign()[0])
    for _ in range(3):
        assert len(bench.assign()) == 3
        bench.later(10)
        bench.beat(session)
        dispatcher.rescue(bench.now)
        bench.later(6)
        bench.beat(session)
    build.refresh_from_db()
    assert (build.state, build.failed) == ("failed", 4)
    codes = sorted(Job.objects.filter(state="failed").values_list("error_code", flat=True))
    assert codes == ["lease_lapsed"] + ["upstream_failed"] * 3


def test_a_heartbeat_renews_only_what_it_lists(bench: Any) -> None:
    session = bench.engine()
    bench.submit(bench.person("ada"))
    bench.submit(bench.person("grace"))
    kept, dropped = bench.assign()
    bench.start(kept)
    bench.later(5)
    outcome = bench.beat(session, str(kept.body["attempt_id"]), "a_unknown")
    assert outcome.reply == {"renewed": 1, "stale": ["a_unknown"]}
    assert bench.job(kept).lease_expires_at == bench.now + timedelta(seconds=15)
    assert bench.job(dropped).lease_expires_at == bench.now + timedelta(seconds=5)
    bench.later(10)
    bench.beat(session, str(kept.body["attempt_id"]), str(dropped.body["attempt_id"]))
    dispatcher.rescue(bench.now)
    assert bench.job(kept).state == "running"
    assert bench.job(dropped).state == "queued"


def test_a_job_that_is_listed_and_never_begun_goes_back_in_the_end(bench: Any) -> None:
    session = bench.engine()
    bench.submit()
    (job,) = bench.assign()
    attempt = str(job.body["attempt_id"])
    for _ in range(STARTS_WITHIN_S // 5 - 1):
        bench.later(5)
        assert bench.beat(session, attempt).reply == {"renewed": 1, "stale": []}
    bench.later(5)
    assert bench.beat(session, attempt).reply == {"renewed": 0, "stale": [attempt]}
    assert dispatcher.rescue(bench.now).reply["rescued"] == 0
    dispatcher.rescue(bench.later(5))
    assert (bench.job(job).state, bench.job(job).attempt) == ("queued", 1)


def test_a_job_that_nobody_takes_expires_after_a_week_and_fails_its_build(bench: Any) -> None:
    waits, young = bench.submit(entities=2), bench.submit(bench.person("grace"))
    Build.objects.filter(pk=young.pk).update(created_at=bench.now + timedelta(seconds=1))
    young.jobs.update(queued_at=bench.now + timedelta(seconds=1))
    assert dispatcher.rescue(bench.later(WEEK_S)).feed_heads == {}
    outcome = dispatcher.rescue(bench.later(0.5))
    assert outcome.reply == {"rescued": 0, "more": False}
    codes = list(waits.jobs.order_by("stage", "ordinal").values_list("state", "error_code"))
    assert codes == [("failed", "expired")] + [("failed", "upstream_failed")] * 3
    waits.refresh_from_db()
    assert (waits.state, waits.failed, waits.error_code) == ("failed", 4, "expired")
    assert waits.jobs.get(stage=0).events.get().event == "expire"
    assert bench.events()[-1]["status"] == "failed"
    assert Build.objects.get(pk=young.pk).state == "queued"


def test_a_build_that_expired_can_be_opened_again_and_then_waits_anew(bench: Any) -> None:
    build = bench.submit(entities=1)
    dispatcher.rescue(bench.later(WEEK_S + 1))
    dispatcher.retry_job(bench.person(), build.jobs.first().id, now=bench.now)
    dispatcher.rescue(bench.later(60))
    build.refresh_from_db()
    assert build.state == "queued"
    bench.engine()
    bench.run_all()
    build.refresh_from_db()
    assert build.state == "completed"


def test_a_job_at_an_engine_and_those_behind_it_do_not_expire(bench: Any) -> None:
    session = bench.engine()
    build = bench.submit()
    bench.later(WEEK_S)
    (job,) = bench.assign()
    bench.start(job)
    bench.later(5)
    bench.beat(session, str(job.body["attempt_id"]))
    dispatcher.rescue(bench.now)
    assert bench.job(job).state == "running"
    build.refresh_from_db()
    assert build.state == "running"
