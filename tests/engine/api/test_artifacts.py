"""A build's artifact is what its finishing job's engine signed, whole and within bounds."""

import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from engine import artifacts, dispatcher
from engine.clock import database_now
from engine.models import Build
from security.conf import HubSettings
from tests.engine.api.api_bench import CLIENT, Forge, code_of, finishing, glb, glb_of, person_token

pytestmark = pytest.mark.django_db


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
