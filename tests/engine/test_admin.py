"""The admin of builds, jobs, engines and feeds: everything can be read, nothing written."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from engine.models import Build, EngineSession, FeedEvent, Job

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
