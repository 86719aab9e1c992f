"""Builds, jobs, the feed and artifacts over HTTP, through all of Django."""

import json
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from engine import artifacts, dispatcher, feed
from engine.clock import database_now
from engine.models import Build
from security import clock, door, services
from security.conf import HubSettings
from security.models import ServiceAccount
from security.services import secret_of_account
from security.sessions import RequestMeta, open_session
from security.signatures import MessageKey
from security.tokens import issue_for_service

pytestmark = pytest.mark.django_db


def glb(generator: bytes = b"test") -> bytes:
    """The smallest binary glTF there is."""
    return glb_of({"asset": {"version": "2.0", "generator": generator.decode()}})


def glb_of(document: object, *, kind: bytes = b"JSON") -> bytes:
    """A binary glTF with a document."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 20 + len(text))
    return head + struct.pack("<I4s", len(text), kind) + text


class Nonces:
    """A nonce store that keeps everything."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, str]] = set()

    def consume(self, scope: str, principal: str, nonce: str, **_times: int) -> bool:
        key = (scope, principal, nonce)
        fresh = key not in self.seen
        self.seen.add(key)
        return fresh


CLIENT = Client()  # one, because each loads the middleware anew


@pytest.fixture(autouse=True)
def reported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The violations, kept from their writer: its thread would wait for this test's transaction."""
    incidents: list[Any] = []
    monkeypatch.setattr("security.violations.report", incidents.append)
    return incidents


@pytest.fixture(autouse=True)
def _stores(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path
    before = door._door.nonces
    door.use_nonces(Nonces())
    yield
    door.use_nonces(before)


def person_token(bench: Any, name: str = "ada", *, staff: bool = False) -> dict[str, str]:
    user = get_user_model().objects.get(pk=bench.person(name))
    user.is_staff = staff
    user.save()
    login = open_session(user, RequestMeta(), clock.now_ms() / 1000)
    return {"Authorization": f"Bearer {login.tokens.access}"}


@dataclass
class Forge:
    """An engine with an account, which can sign uploads."""

    name: str = "forge"
    token: str = field(init=False)
    account: ServiceAccount = field(init=False)

    def __post_init__(self) -> None:
        self.account = services.add("engine", self.name).account
        self.token = issue_for_service(self.account, clock.now_ms() / 1000).text

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def headers(
        self, job: Any, body: bytes, kind: str = "artifact", **changed: Any
    ) -> dict[str, str]:
        path = f"/api/builds/{job.body['build_id']}/{kind}/"
        secret = secret_of_account(self.account)
        assert secret is not None
        key = MessageKey(
            secret, direction="c2s", namespace=path, principal=f"engine:{self.name}", sid=""
        )
        job_id, attempt_id = job.body["job_id"], job.body["attempt_id"]
        payload = f"{job_id}:{attempt_id}:{sha256(body).hexdigest()}"
        ts, nonce = clock.now_ms() + changed.pop("late_ms", 0), secrets.token_urlsafe(18)
        made = {
            **self.bearer,
            "Hub-Job": job_id,
            "Hub-Attempt": attempt_id,
            "Hub-Ts": str(ts),
            "Hub-Nonce": nonce,
            "Hub-Sig": key.sign(type="artifact", ts=ts, nonce=nonce, payload=payload),
        }
        return {**made, **changed}

    def put(self, job: Any, body: bytes, kind: str = "artifact", **changed: Any) -> Any:
        return self.send(job, body, self.headers(job, body, kind, **changed), kind)

    def send(self, job: Any, body: bytes, headers: dict[str, str], kind: str = "artifact") -> Any:
        return CLIENT.put(
            f"/api/builds/{job.body['build_id']}/{kind}/",
            body,
            content_type="model/gltf-binary",
            headers=headers,
        )


@pytest.fixture
def forge() -> Forge:
    return Forge()


def finishing(bench: Any) -> Any:
    """A build whose finishing job runs at its engine, by the database's clock."""
    bench.now = database_now()
    bench.engine("forge")
    bench.submit(entities=1)
    bench.run(bench.assign()[0])
    bench.run(bench.assign()[0])
    (job,) = bench.assign()
    bench.start(job)
    return job


def code_of(response: Any) -> tuple[int, str]:
    body = response.json()
    assert {"code", "message"} <= body.keys()
    return response.status_code, body["code"]


# Reading


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


# Uploading


def test_an_artifact_is_kept_and_its_owner_can_fetch_it(bench: Any, forge: Forge) -> None:
    job = finishing(bench)
    body = glb(b"world")
    response = forge.put(job, body)
    assert response.status_code == 201
    assert response.json()["sha256"] == sha256(body).hexdigest()
    bench.complete(job)
    (told,) = bench.events(event="world_update")
    fetched = CLIENT.get(told["artifact_url"], headers=person_token(bench))
    assert fetched.content == body
    assert fetched["Content-Type"] == "model/gltf-binary"
    assert "attachment" in fetched["Content-Disposition"]


def test_the_same_upload_again_is_accepted_also_after_the_job_ended(
    bench: Any, forge: Forge, tmp_path: Path
) -> None:
    job = finishing(bench)
    assert forge.put(job, glb()).status_code == 201
    assert forge.put(job, glb()).status_code == 201
    bench.complete(job)
    assert forge.put(job, glb()).status_code == 201
    assert len(list(tmp_path.rglob("*.glb"))) == 1
    assert code_of(forge.put(job, glb(b"other"))) == (409, "conflict")


def test_a_newer_attempt_replaces_the_file_of_an_older_one(
    bench: Any, forge: Forge, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    old = finishing(bench)
    forge.put(old, glb(b"old"))
    error = {"code": "crash", "message": "", "retryable": True}
    dispatcher.report_failed(*bench.claim(old), error, now=bench.now)
    (new,) = bench.assign() or _after_backoff(bench)
    bench.start(new)
    with django_capture_on_commit_callbacks(execute=True):
        assert forge.put(new, glb(b"new")).status_code == 201
    assert code_of(forge.put(old, glb(b"old"))) == (409, "STALE_ATTEMPT")
    (kept,) = tmp_path.rglob("*.glb")
    assert kept.read_bytes() == glb(b"new")


def _after_backoff(bench: Any) -> Any:
    bench.later(2)
    return bench.assign()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"Hub-Sig": "0" * 64}, (401, "ENGINE_SIGNATURE_INVALID")),
        ({"Hub-Sig": ""}, (400, "ENGINE_PACKET_INCOMPLETE")),
        ({"Hub-Nonce": "short"}, (400, "ENGINE_PACKET_INCOMPLETE")),
        ({"Hub-Ts": "1e9"}, (400, "ENGINE_PACKET_INCOMPLETE")),
        ({"late_ms": -40_000}, (401, "ENGINE_TIMESTAMP_EXPIRED")),
        ({"Hub-Job": "j_none"}, (404, "JOB_UNKNOWN")),
        ({"Hub-Attempt": "a_none"}, (409, "STALE_ATTEMPT")),
        ({"Authorization": ""}, (401, "auth_invalid")),
    ],
    ids=str,
)
def test_a_wrong_upload_is_refused_and_nothing_is_kept(
    bench: Any, forge: Forge, tmp_path: Path, changed: dict[str, Any], expected: tuple[int, str]
) -> None:
    job = finishing(bench)
    assert code_of(forge.put(job, glb(), **changed)) == expected
    assert list(tmp_path.rglob("*.glb")) == []
    assert forge.put(job, glb()).status_code == 201


def test_a_body_other_than_the_signed_one_is_refused(bench: Any, forge: Forge) -> None:
    job = finishing(bench)
    response = forge.send(job, glb(b"evil"), forge.headers(job, glb(b"good")))
    assert code_of(response) == (401, "ENGINE_SIGNATURE_INVALID")


def test_a_replayed_upload_is_refused(bench: Any, forge: Forge) -> None:
    job = finishing(bench)
    headers = forge.headers(job, glb())
    assert forge.send(job, glb(), headers).status_code == 201
    assert code_of(forge.send(job, glb(), headers)) == (401, "ENGINE_NONCE_REPLAY")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"glTF",
        b"PK\x03\x04" + bytes(20),
        struct.pack("<4sII", b"glTF", 1, 12),
        struct.pack("<4sII", b"glTF", 2, 13),
        glb() + b"\0",
        struct.pack("<4sII", b"glTF", 2, 12),
        glb_of({"asset": {"version": "2.0"}, "images": [{"uri": "https://evil.example/x.png"}]}),
    ],
)
def test_only_a_whole_binary_gltf_2_that_stands_for_itself_is_kept(
    bench: Any, forge: Forge, body: bytes
) -> None:
    assert code_of(forge.put(finishing(bench), body)) == (400, "payload_invalid")
    assert not Build.objects.get().artifact


def test_another_engine_cannot_upload(bench: Any, forge: Forge) -> None:
    job = finishing(bench)
    assert code_of(Forge("anvil").put(job, glb())) == (403, "JOB_NOT_YOURS")
    assert code_of(forge.send(job, glb(), person_token(bench))) == (401, "auth_invalid")


def test_only_the_finishing_job_brings_the_artifact(bench: Any, forge: Forge) -> None:
    bench.now = database_now()
    bench.engine("forge")
    bench.submit()
    (job,) = bench.assign()
    bench.start(job)
    assert code_of(forge.put(job, glb())) == (409, "INVALID_TRANSITION")


def test_an_upload_over_the_bound_is_refused(
    bench: Any, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, longer = glb(b"x"), glb(b"xxxxx")
    monkeypatch.setattr("engine.api.hub", lambda: HubSettings(artifact_body=len(file)))
    job = finishing(bench)
    assert code_of(forge.put(job, longer)) == (413, "payload_too_large")
    assert forge.put(job, file).status_code == 201


def test_a_persons_artifacts_have_a_quota(
    bench: Any, forge: Forge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("engine.artifacts.hub", lambda: HubSettings(artifact_bytes=100))
    Build.objects.filter(pk=bench.submit().pk).update(artifact_size=90)
    dispatcher.cancel_build(bench.person(), Build.objects.get().pk)
    job = finishing(bench)
    assert code_of(forge.put(job, glb())) == (429, "quota_exceeded")
    assert list(tmp_path.rglob("*.glb")) == []


def picture(text: bytes = b"", *, width: int = 2, height: int = 1) -> bytes:
    """The head and the end of a PNG with something between them."""
    head = struct.pack(">8sI4sII", b"\x89PNG\r\n\x1a\n", 13, b"IHDR", width, height)
    return head + text + b"\0\0\0\0IEND\xaeB`\x82"


def test_a_thumbnail_is_kept_beside_the_artifact_and_shown_to_its_owner(
    bench: Any, forge: Forge
) -> None:
    job = finishing(bench)
    build = f"/api/builds/{job.body['build_id']}/"
    token = person_token(bench)
    assert CLIENT.get(build, headers=token).json()["thumbnail_url"] is None
    assert code_of(CLIENT.get(f"{build}thumbnail/", headers=token)) == (404, "not_found")
    assert forge.put(job, glb()).status_code == 201
    for _ in range(2):  # the same again is no conflict
        assert forge.put(job, picture(), "thumbnail").status_code == 201
    assert code_of(forge.put(job, picture(b"other"), "thumbnail")) == (409, "conflict")
    address = CLIENT.get(build, headers=token).json()["thumbnail_url"]
    shown = CLIENT.get(address, headers=token)
    assert (shown.content, shown["Content-Type"]) == (picture(), "image/png")
    assert shown["X-Content-Type-Options"] == "nosniff"
    assert CLIENT.get(address).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        glb(),
        picture()[:-1],
        b"GIF89a" + picture()[6:],
        picture(width=0),
        picture(height=5000),
    ],
)
def test_only_a_png_of_a_sensible_size_is_kept(bench: Any, forge: Forge, body: bytes) -> None:
    job = finishing(bench)
    assert code_of(forge.put(job, body, "thumbnail")) == (400, "payload_invalid")
    assert not Build.objects.get().thumbnail


def test_a_signature_for_the_artifact_is_none_for_the_thumbnail(bench: Any, forge: Forge) -> None:
    job = finishing(bench)
    signed = forge.headers(job, picture(), "artifact")
    refused = forge.send(job, picture(), signed, "thumbnail")
    assert code_of(refused) == (401, "ENGINE_SIGNATURE_INVALID")


def test_the_quota_counts_both_files_of_a_build(
    bench: Any, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finishing(bench)
    forge.put(job, glb())
    fits = len(glb()) + len(picture())
    monkeypatch.setattr("engine.artifacts.hub", lambda: HubSettings(artifact_bytes=fits - 1))
    assert code_of(forge.put(job, picture(), "thumbnail"))[1] == "quota_exceeded"
    monkeypatch.setattr("engine.artifacts.hub", lambda: HubSettings(artifact_bytes=fits))
    assert forge.put(job, picture(), "thumbnail").status_code == 201


def test_a_large_body_is_let_in_only_for_who_may_send_it(bench: Any, forge: Forge) -> None:
    job = finishing(bench)
    headers = forge.headers(job, glb())
    path = f"/api/builds/{job.body['build_id']}/artifact/"
    large, small = HubSettings().artifact_body, HubSettings().http_body
    assert artifacts.body_limit("PUT", path, headers) == large
    assert artifacts.body_limit("PUT", path.replace("artifact", "thumbnail"), headers) == large
    assert artifacts.body_limit("POST", path, headers) == small
    assert artifacts.body_limit("PUT", "/api/token/", headers) == small
    assert artifacts.body_limit("PUT", path, {}) == small
    assert artifacts.body_limit("PUT", path, {**headers, "Hub-Attempt": "a_x"}) == small
    assert artifacts.body_limit("PUT", path, {**headers, **Forge("anvil").bearer}) == small


@pytest.mark.parametrize("name", ["%00", "a%00b", "..%2f..%2fetc", "\u00e9", "x" * 65, "a b"])
@pytest.mark.parametrize("address", ["builds/{}/", "builds/{}/spec/", "jobs/{}/"])
def test_what_cannot_be_an_id_is_nowhere(address: str, name: str) -> None:
    answer = Client().get(f"/api/{address.format(name)}")  # without a token: nobody is asked
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
