"""A build's thumbnail is kept beside its artifact, by the same rules."""

import struct
from typing import Any

import pytest

from engine.models import Build
from security.conf import HubSettings
from tests.engine.api.api_bench import CLIENT, Forge, code_of, finishing, glb, person_token

pytestmark = pytest.mark.django_db


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
