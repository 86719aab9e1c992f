"""Builds, jobs and the feed are read by those whose they are, and by staff."""

from hashlib import sha256
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from engine import feed
from tests.engine.api.api_bench import CLIENT, Forge, code_of, person_token

pytestmark = pytest.mark.django_db


def test_a_person_sees_own_builds_only_and_staff_see_all(bench: Any) -> None:
    for name in ("ada", "grace"):
        bench.submit(bench.person(name), name=f"World of {name}")
    client = CLIENT
    own = client.get("/api/builds/", headers=person_token(bench)).json()
    assert [build["world"]["name"] for build in own["results"]] == ["World of ada"]
    assert own["count"] == 1
    everything = client.get("/api/builds/", headers=person_token(bench, "admin", staff=True)).json()
    assert everything["count"] == 2


def test_builds_come_in_pages_the_newest_first(bench: Any) -> None:
    for number in range(3):
        bench.later(1)
        bench.submit(entities=1, name=f"W{number}")
    client, token = CLIENT, person_token(bench)
    first = client.get("/api/builds/?page_size=2", headers=token).json()
    second = client.get(first["next"], headers=token).json()
    names = [build["world"]["name"] for page in (first, second) for build in page["results"]]
    assert names == ["W2", "W1", "W0"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/builds/{b}/",
        "/api/builds/{b}/spec/",
        "/api/builds/{b}/artifact/",
        "/api/builds/{b}/thumbnail/",
        "/api/jobs/{j}/",
    ],
)
def test_what_is_anothers_is_not_found(bench: Any, path: str) -> None:
    build = bench.submit()
    job = build.jobs.first()
    address = path.format(b=build.id, j=job.id)
    response = CLIENT.get(address, headers=person_token(bench, "grace"))
    assert code_of(response) == (404, "not_found")
    assert code_of(CLIENT.get(address)) == (401, "auth_invalid")


def test_a_build_is_shown_with_its_jobs_and_a_job_with_its_result(bench: Any) -> None:
    bench.engine()
    build = bench.submit(entities=1)
    bench.run_all()
    client, token = CLIENT, person_token(bench)
    shown = client.get(f"/api/builds/{build.id}/", headers=token).json()
    assert (shown["status"], shown["completed"], shown["total"]) == ("completed", 3, 3)
    job = client.get(f"/api/jobs/{shown['jobs'][2]['job_id']}/", headers=token).json()
    assert (job["status"], job["result"], job["finish"]) == ("completed", {"ok": True}, True)


def test_the_specification_is_the_bytes_that_its_digest_names(bench: Any) -> None:
    build = bench.submit()
    response = CLIENT.get(f"/api/builds/{build.id}/spec/", headers=person_token(bench))
    assert sha256(response.content).hexdigest() == build.world_sha256


def test_an_engine_reads_the_specification_while_it_holds_a_job(bench: Any, forge: Forge) -> None:
    bench.engine("forge")
    build = bench.submit(entities=1)
    address = f"/api/builds/{build.id}/spec/"
    assert CLIENT.get(address, headers=forge.bearer).status_code == 404
    (job,) = bench.assign()
    assert CLIENT.get(address, headers=forge.bearer).status_code == 200
    assert CLIENT.get(address, headers=Forge("anvil").bearer).status_code == 404
    bench.run(job)
    assert CLIENT.get(address, headers=forge.bearer).status_code == 404


def test_staff_read_files_by_their_admin_session(bench: Any) -> None:
    build = bench.submit()
    user = get_user_model().objects.get(pk=bench.person("admin"))
    client = Client()
    client.force_login(user)
    assert client.get(f"/api/builds/{build.id}/spec/").status_code == 401
    user.is_staff = True
    user.save()
    assert client.get(f"/api/builds/{build.id}/spec/").status_code == 200
    assert client.get("/api/builds/").status_code == 401


def test_the_feed_is_read_from_a_number_on(bench: Any) -> None:
    bench.engine()
    bench.submit(entities=1)
    bench.run_all()
    client, token = CLIENT, person_token(bench)
    at = feed.position(bench.person())
    page = client.get(f"/api/feed/?after=2&epoch={at.epoch}", headers=token).json()
    assert (page["epoch"], page["head"], page["recovered"]) == (at.epoch, at.head, True)
    assert [event["seq"] for event in page["events"]] == list(range(3, at.head + 1))
    assert page["events"][-1]["event"] == "world_update"
    assert page["events"][-1]["data"]["seq"] == at.head
    other = client.get("/api/feed/?after=2&epoch=other", headers=token).json()
    assert (other["recovered"], other["events"]) == (False, [])


@pytest.mark.parametrize("after", ["-1", "x", "1.0", "\uff11", "01", ""])
def test_a_number_that_is_none_is_refused(bench: Any, after: str) -> None:
    response = CLIENT.get("/api/feed/", {"after": after}, headers=person_token(bench))
    assert code_of(response) == (400, "malformed")


@pytest.mark.parametrize("name", ["%00", "a%00b", "..%2f..%2fetc", "\u00e9", "x" * 65, "a b"])
@pytest.mark.parametrize("address", ["builds/{}/", "builds/{}/spec/", "jobs/{}/"])
def test_what_cannot_be_an_id_is_nowhere(address: str, name: str) -> None:
    answer = Client().get(f"/api/{address.format(name)}")  # without a token: nobody is asked
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
