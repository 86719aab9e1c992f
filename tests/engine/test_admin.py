"""The admin of builds, jobs, engines and feeds: everything can be read, little can be done."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from engine import dispatcher, effects
from engine.admin.attempts import attempts_of
from engine.admin.parts import time_between
from engine.clock import database_now
from engine.models import Build, DispatchControl, EngineSession, FeedEvent, Job
from engine.outcome import Outcome

pytestmark = pytest.mark.django_db

MODELS = [Build, Job, EngineSession, FeedEvent]


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("admin", password="x"))
    return client


@pytest.fixture
def _built(bench: Any) -> None:
    bench.engine()
    bench.submit(entities=1, name="<script>alert(1)</script>")
    bench.run_all()


def address(model: Any, *rest: str) -> str:
    return "/".join(["/admin/engine", model._meta.model_name, *rest, ""])


@pytest.mark.usefixtures("_built")
@pytest.mark.parametrize("model", MODELS)
def test_every_list_and_every_row_can_be_read(staff: Client, model: Any) -> None:
    assert staff.get(address(model)).status_code == 200
    for row in model.objects.all():
        page = staff.get(address(model, str(row.pk), "change"))
        assert page.status_code == 200
        assert b"<script>alert" not in page.content


@pytest.mark.usefixtures("_built")
@pytest.mark.parametrize("model", MODELS)
def test_nothing_can_be_added_changed_or_deleted(staff: Client, model: Any) -> None:
    row = model.objects.first()
    assert staff.get(address(model, "add")).status_code == 403
    assert staff.post(address(model, str(row.pk), "change"), {}).status_code == 403
    assert staff.post(address(model, str(row.pk), "delete"), {"post": "yes"}).status_code == 403
    assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.usefixtures("_built")
def test_jobs_can_be_filtered_by_every_state_and_searched(staff: Client) -> None:
    page = staff.get(address(Job), {"state__exact": "completed", "q": Job.objects.all()[0].pk})
    assert page.status_code == 200
    assert page.content.decode().count("field-job_type") == 1
    for state in ("queued", "dispatched", "running", "completed", "failed"):
        assert f"?state__exact={state}" in staff.get(address(Job)).content.decode()


@pytest.mark.usefixtures("_built")
def test_a_job_shows_its_timeline(staff: Client) -> None:
    page = staff.get(address(Job, Job.objects.all()[0].pk, "change")).content.decode()
    for event in ("dispatch", "start", "complete"):
        assert f"<p>{event}</p>" in page


# What staff see.


def page_of(staff: Client, row: Any) -> str:
    return staff.get(address(type(row), str(row.pk), "change")).content.decode()


def test_a_job_shows_each_attempt_with_its_error_and_times(staff: Client, bench: Any) -> None:
    bench.engine()
    bench.submit(entities=1)
    for code, wait in (("first", 1), ("second", 10)):
        (job,) = bench.assign()
        bench.start(job)
        bench.later(2)
        bench.fail(job, retryable=True, code=code)
        bench.later(wait + 1)
    bench.run_all()
    row = Job.objects.get(pk=job.body["job_id"])
    first, second, last = attempts_of(row)
    assert [each.error.partition(":")[0] for each in (first, second, last)] == [
        "first",
        "second",
        "",
    ]
    assert first.ended_at - first.started_at == timedelta(seconds=2)
    assert second.waiting_since == first.ended_at
    shown = page_of(staff, row)
    assert shown.count("<rect") == 6
    assert "first: It broke." in shown
    assert "style=" not in shown.partition("<svg")[2].partition("</svg>")[0]


def test_a_build_shows_its_stages_and_its_files(staff: Client, bench: Any) -> None:
    bench.engine()
    build = bench.submit(entities=3)
    bench.run_all()
    Build.objects.filter(pk=build.pk).update(artifact="a.glb", thumbnail="a.png", artifact_size=9)
    shown = page_of(staff, build)
    for stage in ("<td>BUILD_SCENE</td><td>1</td><td>1</td>", "<td>SPAWN_ENTITY</td><td>3</td>"):
        assert stage in shown
    assert f'<img src="/api/builds/{build.pk}/thumbnail/"' in shown
    assert f'<a href="/api/builds/{build.pk}/artifact/">9 bytes' in shown


@pytest.mark.parametrize(("quiet", "state"), [(0, "ready"), (11, "silent"), (121, "lost")])
def test_an_engine_is_shown_as_its_last_sign_of_life_has_it(
    staff: Client, bench: Any, quiet: int, state: str
) -> None:
    bench.now = database_now() - timedelta(seconds=quiet)
    bench.engine()
    shown = staff.get(address(EngineSession)).content.decode()
    assert f'<td class="field-now">{state}</td>' in shown


@pytest.mark.parametrize("model", [Build, Job, EngineSession])
def test_a_banner_says_that_jobs_wait_for_an_engine(staff: Client, bench: Any, model: Any) -> None:
    bench.submit(entities=1)
    assert "No engine connected, 3 jobs waiting." in staff.get(address(model)).content.decode()
    bench.engine()
    assert "No engine connected" not in staff.get(address(model)).content.decode()


# What staff do.


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """The effects that a process with sockets would carry out."""
    outcomes: list[Outcome] = []
    monkeypatch.setattr(effects, "_sinks", [outcomes.append])
    monkeypatch.setattr("django.db.transaction.on_commit", lambda call: call())
    return outcomes


def act(staff: Client, action: str, *rows: Any, **answer: str) -> Any:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return staff.post(address(type(rows[0])), {**chosen, **answer}, follow=True)


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The audit entries, kept from their writer: it has a connection of its own."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "security.audit.append",
        lambda action, *, target="", **_facts: found.append((action, target)),
    )
    return found


def test_many_builds_are_cancelled_only_after_a_page_that_asks(
    staff: Client, bench: Any, handed_over: list[Outcome], entries: list[tuple[str, str]]
) -> None:
    bench.engine()
    builds = [bench.submit(entities=1) for _ in range(3)]
    (running, *_) = bench.assign()
    bench.start(running)
    asked = act(staff, "cancel_chosen", *builds).content.decode()
    assert asked.count("(b_") == 3
    assert not Build.objects.filter(cancel_requested=True).exists()
    assert entries == []
    act(staff, "cancel_chosen", *builds, confirmed="yes")
    assert Build.objects.filter(cancel_requested=True).count() == 3
    assert entries == [("staff_build_cancelled", f"build:{each.pk}") for each in rows(builds)]
    told = [each.event for outcome in handed_over for each in outcome.deliveries]
    assert told.count("job_abort") == 3


def rows(builds: list[Build]) -> list[Build]:
    """In the order of their list: the newest first."""
    return list(Build.objects.filter(pk__in=[each.pk for each in builds]))


def test_failed_builds_are_tried_again_and_others_left_alone(
    staff: Client, bench: Any, handed_over: list[Outcome], entries: list[tuple[str, str]]
) -> None:
    bench.engine()
    failed, waiting = bench.submit(entities=1), bench.submit(entities=1, name="Other")
    jobs = {job.body["build_id"]: job for job in bench.assign()}
    bench.start(jobs[failed.pk])
    bench.fail(jobs[failed.pk])
    page = act(staff, "retry_chosen", failed, waiting, confirmed="yes").content.decode()
    assert "done for 1" in page
    assert "not possible for 1" in page
    failed.refresh_from_db()
    assert (failed.state, failed.opening) == ("queued", 2)
    assert entries == [("staff_build_retried", f"build:{failed.pk}")]
    assert handed_over[0].assignable


def test_a_job_is_cancelled_and_another_tried_again_from_their_list(
    staff: Client, bench: Any, handed_over: list[Outcome], entries: list[tuple[str, str]]
) -> None:
    build = bench.submit(entities=1)
    job = Job.objects.filter(build=build)[0]
    act(staff, "cancel_chosen", job, confirmed="yes")
    assert Build.objects.get().state == "failed"
    act(staff, "retry_chosen", job, confirmed="yes")
    assert Build.objects.get().state == "queued"
    assert [action for action, _ in entries] == ["staff_job_cancelled", "staff_job_retried"]


def test_staff_without_the_right_are_offered_and_allowed_nothing(bench: Any) -> None:
    helper = get_user_model().objects.create_user("helper", password="x", is_staff=True)
    helper.user_permissions.add(Permission.objects.get(codename="view_build"))
    client = Client()
    client.force_login(helper)
    build = bench.submit(entities=1)
    assert "cancel_chosen" not in client.get(address(Build)).content.decode()
    act(client, "cancel_chosen", build, confirmed="yes")
    assert Build.objects.get().state == "queued"
    assert client.post("/admin/engine/enginesession/dispatch/", {}).status_code == 403


def test_dispatch_is_paused_and_resumed_by_staff(
    staff: Client, bench: Any, handed_over: list[Outcome], entries: list[tuple[str, str]]
) -> None:
    switch = "/admin/engine/enginesession/dispatch/"
    bench.engine()
    bench.submit(entities=1)
    assert "Pause dispatch" in staff.get(switch).content.decode()
    assert not dispatcher.is_paused()
    staff.post(switch, {"confirmed": "staff_dispatch_paused"})
    assert dispatcher.is_paused()
    assert bench.assign() == []
    banner = staff.get(address(Job)).content.decode()
    assert "Dispatch is paused since" in banner
    assert "3 jobs waiting" in banner
    staff.post(switch, {"confirmed": "staff_dispatch_resumed"})
    assert handed_over[-1].assignable
    assert len(bench.assign()) == 1
    assert [action for action, _ in entries] == ["staff_dispatch_paused", "staff_dispatch_resumed"]
    assert DispatchControl.objects.get().changed_by.username == "admin"


def test_what_engines_hold_goes_on_while_dispatch_is_paused(bench: Any) -> None:
    bench.engine()
    bench.submit(entities=1)
    (job,) = bench.assign()
    dispatcher.pause(bench.person(), now=bench.now)
    bench.run(job)
    assert bench.job(job).state == "completed"
    assert bench.assign() == []


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.000 s"),
        (119.9994, "119.999 s"),
        (120, "2 min 0 s"),
        (1_232.4, "20 min 32 s"),
        (7_199, "119 min 59 s"),
        (7_200, "2 h 0 min"),
        (90_061, "25 h 1 min"),
    ],
)
def test_a_duration_is_as_exact_as_it_is_long(seconds: float, shown: str) -> None:
    start = database_now()
    read = time_between(start, start + timedelta(seconds=seconds))
    assert read.replace("\u202f", " ") == shown
    assert time_between(start, None) == time_between(None, start) == "-"


def test_times_are_shown_to_the_second(staff: Client, bench: Any) -> None:
    build = bench.submit(entities=1)
    page = staff.get(address(Build, build.pk, "change"))
    assert f"{bench.now:%Y-%m-%d %H:%M:%S}" in page.content.decode()
