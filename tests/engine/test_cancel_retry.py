"""Cancelling and retrying builds and jobs, and what a person may submit."""

from typing import Any

import pytest

from engine import dispatcher
from engine.models import Build, Job
from security.conf import HubSettings
from security.refusals import Refused

pytestmark = pytest.mark.django_db


def refusal(call: Any, *args: Any, **kwargs: Any) -> str:
    """Return the code by which a call is refused; it must be."""
    with pytest.raises(Refused) as caught:
        call(*args, **kwargs)
    return caught.value.code


# Submitting


def test_the_same_request_gives_the_first_build_and_changes_nothing(bench: Any) -> None:
    ada = bench.person()
    first = dispatcher.submit(ada, bench.world(3), request_id="r-1", now=bench.now)
    again = dispatcher.submit(ada, bench.world(3), request_id="r-1", now=bench.later(5))
    assert again.reply == first.reply
    assert again.feed_heads == {}
    assert Build.objects.count() == 1


def test_the_same_request_with_another_world_is_a_conflict(bench: Any) -> None:
    ada = bench.person()
    dispatcher.submit(ada, bench.world(3), request_id="r-1", now=bench.now)
    other = bench.world(4)
    assert refusal(dispatcher.submit, ada, other, request_id="r-1", now=bench.now) == "conflict"


def test_two_people_may_use_the_same_request_id(bench: Any) -> None:
    for name in ("ada", "grace"):
        bench.submit(bench.person(name), request_id="r-1")
    assert Build.objects.count() == 2


def test_high_priority_is_for_staff(bench: Any) -> None:
    assert refusal(bench.submit, priority="high") == "forbidden"
    assert refusal(bench.submit, priority="urgent") == "payload_invalid"
    assert bench.submit(priority="high", staff=True).priority == 2
    assert Build.objects.count() == 1


def test_a_person_has_at_most_four_builds_in_flight(bench: Any) -> None:
    for _ in range(4):
        bench.submit(entities=1)
    assert refusal(bench.submit, entities=1) == "quota_exceeded"
    bench.engine()
    bench.run_all()
    bench.submit(entities=1)


def test_a_person_has_at_most_so_many_open_jobs(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = HubSettings(queued_jobs=10)
    monkeypatch.setattr("engine.dispatch.submit.hub", lambda: small)
    bench.submit(entities=5)
    assert refusal(bench.submit, entities=2) == "quota_exceeded"
    bench.submit(entities=1)
    assert Job.objects.count() == 10


def test_a_refusal_is_kept_in_the_feed(bench: Any) -> None:
    body = {"error": "schema_validation_failed", "message": "no", "path": "$.world"}
    outcome = dispatcher.refuse(bench.person(), body, now=bench.now)
    assert outcome.feed_users == {bench.person()}
    (told,) = bench.events(event="job_error")
    assert told["path"] == "$.world"
    assert Build.objects.count() == 0


# Cancelling


def test_a_waiting_build_is_cancelled_at_once(bench: Any) -> None:
    build = bench.submit()
    outcome = dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    assert outcome.reply == {"build_id": build.id, "status": "failed"}
    build.refresh_from_db()
    assert (build.error_code, build.failed) == ("cancelled", 14)
    assert set(Job.objects.values_list("state", "error_code")) == {("failed", "cancelled")}


def test_a_running_job_is_aborted_and_ends_with_the_engines_word(bench: Any) -> None:
    bench.engine()
    build = bench.submit()
    (job,) = bench.assign()
    bench.start(job)
    outcome = dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    assert outcome.reply["status"] == "running"
    (abort,) = outcome.deliveries
    assert (abort.event, abort.body["reason"]) == ("job_abort", "cancelled")
    assert bench.job(job).state == "running"
    bench.fail(job, retryable=True, code="aborted")
    assert (bench.job(job).state, bench.job(job).error_code) == ("failed", "cancelled")
    build.refresh_from_db()
    assert (build.state, build.error_code, build.failed) == ("failed", "cancelled", 14)
    assert bench.fail(job, retryable=True, code="aborted").reply == {"duplicate": True}


def test_a_running_job_of_a_cancelled_build_ends_with_its_lease(bench: Any) -> None:
    bench.engine()
    build = bench.submit()
    (job,) = bench.assign()
    bench.start(job)
    dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    dispatcher.rescue(bench.later(15))
    assert bench.job(job).error_code == "cancelled"
    build.refresh_from_db()
    assert build.state == "failed"


def test_a_completion_that_was_quicker_than_the_cancel_ends_the_build_as_cancelled(
    bench: Any,
) -> None:
    bench.engine()
    build = bench.submit()
    (job,) = bench.assign()
    bench.start(job)
    dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    bench.complete(job)
    build.refresh_from_db()
    assert bench.job(job).state == "completed"
    assert (build.state, build.error_code, build.completed) == ("failed", "cancelled", 1)
    assert bench.assign() == []


def test_cancelling_one_job_fails_its_build(bench: Any) -> None:
    build = bench.submit(entities=2)
    job = Job.objects.filter(build=build, stage=2).first()
    assert job is not None
    dispatcher.cancel_job(bench.person(), job.id, now=bench.now)
    codes = sorted(Job.objects.values_list("error_code", flat=True))
    assert codes == ["cancelled"] + ["upstream_failed"] * 3
    build.refresh_from_db()
    assert (build.state, build.error_code) == ("failed", "cancelled")


def test_cancelling_a_running_job_asks_its_engine_once(bench: Any) -> None:
    bench.engine()
    bench.submit()
    (job,) = bench.assign()
    bench.start(job)
    job_id = str(job.body["job_id"])
    first = dispatcher.cancel_job(bench.person(), job_id, now=bench.now)
    second = dispatcher.cancel_job(bench.person(), job_id, now=bench.now)
    assert [len(first.deliveries), len(second.deliveries)] == [1, 0]
    bench.fail(job)
    assert refusal(dispatcher.cancel_job, bench.person(), job_id, now=bench.now) == "conflict"


def test_cancelling_twice_changes_nothing_more(bench: Any) -> None:
    build = bench.submit()
    dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    again = dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    assert again.feed_heads == {}
    assert again.reply["status"] == "failed"


def test_what_is_anothers_is_not_found_but_staff_may(bench: Any) -> None:
    build = bench.submit()
    job = Job.objects.filter(build=build).first()
    assert job is not None
    grace = bench.person("grace")
    assert refusal(dispatcher.cancel_build, grace, build.id, now=bench.now) == "not_found"
    assert refusal(dispatcher.cancel_job, grace, job.id, now=bench.now) == "not_found"
    assert refusal(dispatcher.retry_job, grace, job.id, now=bench.now) == "not_found"
    assert refusal(dispatcher.cancel_build, grace, "b_none", now=bench.now) == "not_found"
    dispatcher.cancel_build(grace, build.id, staff=True, now=bench.now)
    assert bench.events(bench.person("ada"))[-1]["status"] == "failed"


def test_a_completed_build_cannot_be_cancelled(bench: Any) -> None:
    bench.engine()
    build = bench.submit(entities=1)
    bench.run_all()
    assert refusal(dispatcher.cancel_build, bench.person(), build.id, now=bench.now) == "conflict"


# Retrying


def failed_build(bench: Any) -> tuple[Build, str]:
    """A build whose third job failed for good, with two completed."""
    bench.engine(capacity=4)
    build = bench.submit(entities=4)
    bench.run(bench.assign()[0])
    bench.run(bench.assign()[0])
    job = bench.assign()[0]
    bench.start(job)
    bench.fail(job)
    return build, str(job.body["job_id"])


def test_a_retry_makes_new_jobs_for_every_failed_one_and_the_build_completes(bench: Any) -> None:
    build, job_id = failed_build(bench)
    outcome = dispatcher.retry_job(bench.person(), job_id, now=bench.later(1))
    again = outcome.reply["jobs"]
    assert isinstance(again, list)
    assert [job["stage"] for job in again] == [2, 2, 2, 2]
    fresh = Job.objects.filter(build=build, opening=2)
    assert {job.retry_of_id for job in fresh} == set(
        Job.objects.filter(build=build, state="failed").values_list("id", flat=True)
    )
    ran = bench.run_all()
    assert [job.body["execution_params"]["finish"] for job in ran] == [False] * 3 + [True]
    build.refresh_from_db()
    assert (build.state, build.total, build.completed, build.failed) == ("completed", 6, 6, 0)
    assert (build.opening, build.error_code) == (2, "")
    outcomes = [each["status"] for each in bench.events(event="build_status")]
    assert outcomes.count("failed") == 1
    assert outcomes.count("completed") == 1
    assert len(bench.events(event="world_update")) == 1


def test_a_job_is_retried_once(bench: Any) -> None:
    _, job_id = failed_build(bench)
    dispatcher.retry_job(bench.person(), job_id, now=bench.now)
    assert refusal(dispatcher.retry_job, bench.person(), job_id, now=bench.now) == "conflict"
    bench.fail(bench.assign()[0])
    assert refusal(dispatcher.retry_job, bench.person(), job_id, now=bench.now) == "conflict"


def test_only_a_failed_job_is_retried(bench: Any) -> None:
    build, _ = failed_build(bench)
    done = Job.objects.filter(build=build, state="completed").first()
    assert done is not None
    assert refusal(dispatcher.retry_job, bench.person(), done.id, now=bench.now) == "conflict"


def test_a_cancelled_build_can_be_retried(bench: Any) -> None:
    build = bench.submit(entities=1)
    dispatcher.cancel_build(bench.person(), build.id, now=bench.now)
    job = Job.objects.filter(build=build).first()
    assert job is not None
    dispatcher.retry_job(bench.person(), job.id, now=bench.now)
    bench.engine()
    bench.run_all()
    build.refresh_from_db()
    assert (build.state, build.cancel_requested) == ("completed", False)
