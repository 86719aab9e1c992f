"""What engines report: accepted once, from the attempt that holds the job, and never else."""

from datetime import timedelta
from typing import Any

import pytest

from engine import dispatcher
from engine.models import Build, FeedEvent, Job, JobEvent
from security.refusals import Refused

pytestmark = pytest.mark.django_db

ERROR = {"code": "broken", "message": "It broke.", "retryable": False}
REPORTS: dict[str, Any] = {
    "ack": dispatcher.report_ack,
    "started": dispatcher.report_started,
    "progress": lambda *claim, now: dispatcher.report_progress(*claim, 100, now=now),
    "completed": lambda *claim, now: dispatcher.report_completed(*claim, {"a": 1}, now=now),
    "failed": lambda *claim, now: dispatcher.report_failed(*claim, ERROR, now=now),
}


def refused(code: str, report: Any, *claim: Any, now: Any) -> Refused:
    """Make a report that must be refused by that code and change nothing."""
    before = snapshot()
    with pytest.raises(Refused) as caught:
        report(*claim, now=now)
    assert caught.value.code == code
    assert snapshot() == before
    return caught.value


def snapshot() -> list[Any]:
    rows: list[Any] = []
    for model in (Build, Job, JobEvent, FeedEvent):
        rows += list(model.objects.order_by("pk").values())
    return rows


def in_state(bench: Any, state: str) -> Any:
    """Bring the first job of a build to a state, and return its delivery."""
    bench.engine()
    bench.submit()
    (job,) = bench.assign()
    if state in {"running", "completed", "failed"}:
        bench.start(job)
    if state == "completed":
        bench.complete(job, {"a": 1})
    if state == "failed":
        dispatcher.report_failed(*bench.claim(job), ERROR, now=bench.now)
    if state == "queued":
        error = {**ERROR, "code": "busy", "retryable": True}
        dispatcher.report_failed(*bench.claim(job), error, now=bench.now)
    assert bench.job(job).state == state
    return job


ALL_PAIRS = {
    ("queued", "ack"): "INVALID_TRANSITION",
    ("queued", "started"): "INVALID_TRANSITION",
    ("queued", "progress"): "INVALID_TRANSITION",
    ("queued", "completed"): "INVALID_TRANSITION",
    ("queued", "failed"): "INVALID_TRANSITION",
    ("dispatched", "ack"): "dispatched",
    ("dispatched", "started"): "running",
    ("dispatched", "progress"): "INVALID_TRANSITION",
    ("dispatched", "completed"): "INVALID_TRANSITION",
    ("dispatched", "failed"): "failed",
    ("running", "ack"): "duplicate",
    ("running", "started"): "duplicate",
    ("running", "progress"): "running",
    ("running", "completed"): "completed",
    ("running", "failed"): "failed",
    ("completed", "ack"): "INVALID_TRANSITION",
    ("completed", "started"): "INVALID_TRANSITION",
    ("completed", "progress"): "INVALID_TRANSITION",
    ("completed", "completed"): "duplicate",
    ("completed", "failed"): "INVALID_TRANSITION",
    ("failed", "ack"): "INVALID_TRANSITION",
    ("failed", "started"): "INVALID_TRANSITION",
    ("failed", "progress"): "INVALID_TRANSITION",
    ("failed", "completed"): "INVALID_TRANSITION",
    ("failed", "failed"): "duplicate",
}


@pytest.mark.parametrize(("pair", "expected"), ALL_PAIRS.items(), ids=str)
def test_every_report_in_every_state_does_what_the_table_says(
    bench: Any, pair: tuple[str, str], expected: str
) -> None:
    state, kind = pair
    job = in_state(bench, state)
    if expected.isupper():
        refused(expected, REPORTS[kind], *bench.claim(job), now=bench.now)
        return
    before = snapshot()
    outcome = REPORTS[kind](*bench.claim(job), now=bench.now)
    if expected == "duplicate":
        assert outcome.reply == {"duplicate": True}
        assert snapshot() == before
    else:
        assert "duplicate" not in outcome.reply
        assert bench.job(job).state == expected


@pytest.mark.parametrize("kind", REPORTS)
def test_an_unknown_job_is_refused(bench: Any, kind: str) -> None:
    session = bench.engine()
    refused("JOB_UNKNOWN", REPORTS[kind], session, "j_none", "a_none", now=bench.now)


@pytest.mark.parametrize("kind", REPORTS)
def test_a_job_of_another_engine_is_refused(bench: Any, kind: str) -> None:
    job = in_state(bench, "running")
    other = bench.engine("anvil")
    _, *claim = bench.claim(job)
    refused("JOB_NOT_YOURS", REPORTS[kind], other, *claim, now=bench.now)
    refused("JOB_NOT_YOURS", REPORTS[kind], other, claim[0], "a_guess", now=bench.now)


@pytest.mark.parametrize("kind", REPORTS)
def test_an_attempt_that_a_newer_one_replaced_is_fenced(bench: Any, kind: str) -> None:
    old = in_state(bench, "dispatched")
    bench.later(10)
    bench.beat(old.engine_session_id)
    dispatcher.rescue(bench.now)
    bench.later(3)
    (new,) = bench.assign()
    assert new.body["job_id"] == old.body["job_id"]
    refused("STALE_ATTEMPT", REPORTS[kind], *bench.claim(old), now=bench.now)
    bench.run(new)
    assert bench.job(new).state == "completed"


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("rescued", [False, True])
def test_a_report_after_the_lease_is_refused(bench: Any, kind: str, rescued: bool) -> None:
    job = in_state(bench, "running")
    bench.later(15)
    if rescued:
        dispatcher.rescue(bench.now)
    refused("LEASE_EXPIRED", REPORTS[kind], *bench.claim(job), now=bench.now)


@pytest.mark.parametrize("kind", REPORTS)
def test_a_report_just_before_the_lease_ends_is_taken(bench: Any, kind: str) -> None:
    job = in_state(bench, "running")
    bench.later(14.999)
    REPORTS[kind](*bench.claim(job), now=bench.now)


def test_another_result_of_the_same_attempt_is_a_conflict(bench: Any) -> None:
    job = in_state(bench, "completed")
    other = {"a": 2}
    before = snapshot()
    with pytest.raises(Refused) as caught:
        bench.complete(job, other)
    assert caught.value.code == "CONFLICTING_COMPLETION"
    assert snapshot() == before


def test_the_same_result_with_its_keys_in_another_order_is_a_duplicate(bench: Any) -> None:
    bench.engine()
    bench.submit()
    (job,) = bench.assign()
    bench.start(job)
    bench.complete(job, {"a": 1, "b": [2]})
    assert bench.complete(job, {"b": [2], "a": 1}).reply == {"duplicate": True}


@pytest.mark.parametrize("value", [-1, 101, 50.5, "50", True, None, [], 2**70])
def test_progress_is_a_whole_number_from_0_to_100(bench: Any, value: object) -> None:
    job = in_state(bench, "running")
    with pytest.raises(Refused) as caught:
        dispatcher.report_progress(*bench.claim(job), value, now=bench.now)
    assert caught.value.code == "PAYLOAD_INVALID"
    assert bench.job(job).progress == 0


def test_progress_never_goes_back_within_an_attempt(bench: Any) -> None:
    job = in_state(bench, "running")
    dispatcher.report_progress(*bench.claim(job), 40, now=bench.now)
    with pytest.raises(Refused) as caught:
        dispatcher.report_progress(*bench.claim(job), 39, now=bench.later(1))
    assert caught.value.code == "PAYLOAD_INVALID"
    assert bench.job(job).progress == 40


def test_progress_is_shown_five_times_a_second_and_renews_the_lease_each_time(bench: Any) -> None:
    job = in_state(bench, "running")
    shown = []
    for percent in range(20):
        bench.later(0.05)
        outcome = dispatcher.report_progress(*bench.claim(job), percent, now=bench.now)
        shown += [each.body["progress"] for each in outcome.broadcasts]
        assert outcome.feed_heads == {}
        assert bench.job(job).lease_expires_at == bench.now + timedelta(seconds=15)
    assert shown == [0, 4, 8, 12, 16]


def test_progress_is_broadcast_without_a_number_and_kept_in_no_feed(bench: Any) -> None:
    job = in_state(bench, "running")
    head = len(bench.events())
    outcome = dispatcher.report_progress(*bench.claim(job), 7, now=bench.now)
    (broadcast,) = outcome.broadcasts
    assert (broadcast.user_id, broadcast.event) == (bench.person(), "job_status")
    assert broadcast.body["status"] == "running"
    assert "seq" not in broadcast.body
    assert len(bench.events()) == head


def test_a_lease_never_ends_after_the_longest_run(bench: Any) -> None:
    job = in_state(bench, "running")
    started = bench.now
    for _ in range(11):
        bench.later(10)
        dispatcher.report_progress(*bench.claim(job), 1, now=bench.now)
    assert bench.job(job).lease_expires_at == started + timedelta(seconds=120)


@pytest.mark.parametrize("result", [None, [], "done", 1, {"x": "y" * 65_536}])
def test_a_result_is_an_object_of_at_most_64_kib(bench: Any, result: object) -> None:
    job = in_state(bench, "running")
    with pytest.raises(Refused) as caught:
        dispatcher.report_completed(*bench.claim(job), result, now=bench.now)
    assert caught.value.code == "PAYLOAD_INVALID"
    assert bench.job(job).state == "running"


@pytest.mark.parametrize(
    "error",
    [
        None,
        "broken",
        {},
        {"code": ""},
        {"code": "has space"},
        {"code": "x", "message": 1},
        {"code": "x", "retryable": 1},
        {"code": "x", "stack": "secret"},
    ],
)
def test_an_error_has_the_agreed_form(bench: Any, error: object) -> None:
    job = in_state(bench, "running")
    with pytest.raises(Refused) as caught:
        dispatcher.report_failed(*bench.claim(job), error, now=bench.now)
    assert caught.value.code == "PAYLOAD_INVALID"
    assert bench.job(job).state == "running"


def test_a_retryable_failure_waits_and_is_tried_again_up_to_three_times(bench: Any) -> None:
    bench.engine()
    build = bench.submit()
    waits = []
    for attempt in (1, 2, 3):
        (job,) = bench.assign()
        bench.start(job)
        assert bench.job(job).attempt == attempt
        outcome = bench.fail(job, retryable=True)
        row = bench.job(job)
        if attempt < 3:
            assert [each.body["status"] for each in outcome.broadcasts] == ["queued"]
            assert bench.assign() == []
            waits.append((row.not_before - bench.now).total_seconds())
            bench.later(waits[-1])
    assert 0.8 <= waits[0] <= 1.2
    assert 1.6 <= waits[1] <= 2.4
    assert (row.state, row.error_code, row.error_message) == ("failed", "broken", "It broke.")
    build.refresh_from_db()
    assert (build.state, build.failed, build.error_code) == ("failed", 14, "broken")


def test_a_final_failure_fails_the_rest_and_aborts_running_siblings(bench: Any) -> None:
    bench.engine(capacity=4)
    build = bench.submit()
    bench.run(bench.assign()[0])
    bench.run(bench.assign()[0])
    first, *siblings = bench.assign()
    outcome = bench.fail(first)
    aborted = [each for each in outcome.deliveries if each.event == "job_abort"]
    assert {each.body["job_id"] for each in aborted} == {each.body["job_id"] for each in siblings}
    assert {each.body["reason"] for each in aborted} == {"upstream_failed"}
    build.refresh_from_db()
    assert (build.state, build.completed, build.failed) == ("failed", 2, 12)
    codes = list(
        Job.objects.filter(build=build, state="failed").values_list("error_code", flat=True)
    )
    assert sorted(codes) == ["broken"] + ["upstream_failed"] * 11
    assert bench.events()[-1]["event"] == "build_status"
    assert bench.events(event="world_update") == []
    assert bench.assign() == []


def test_a_failed_job_tells_its_error_in_the_feed(bench: Any) -> None:
    job = in_state(bench, "failed")
    told = [each for each in bench.events(event="job_status") if each["status"] == "failed"]
    assert told[0]["job_id"] == job.body["job_id"]
    assert told[0]["error"] == {"code": "broken", "message": "It broke."}
