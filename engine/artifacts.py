"""The built file of a build: who may bring it, what it must be, and how it is kept.

An upload is admitted in two steps. Before its body is read: the token, and the live attempt of that
engine (`admit_upload`). With the body: the signature over its SHA-256, the nonce, the file's own
header (`check_signature`, `check_file`). It is then stored once per attempt (`store`).
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Sum

from engine.clock import moment
from engine.dispatch.refusal import Claim, duplicate_or_refused
from engine.dispatch.rows import lock_build
from engine.models import LIVE_STATES, Build, Job
from security import clock, tokens
from security.conf import hub
from security.door import nonces
from security.gate import SERVICE_CODES, Door, Gate, PayloadRule
from security.models import ServiceAccount
from security.principals import Principal
from security.refusals import Refused
from security.services import secret_of_account
from security.sessions import resolve
from security.signatures import MessageKey

__all__ = ["Upload", "admit_upload", "body_limit", "check_file", "check_signature", "store"]

ARTIFACT_PATH: Final = re.compile(r"/api/builds/([A-Za-z0-9_-]{1,24})/artifact/")
HEADERS: Final = ("Hub-Job", "Hub-Attempt", "Hub-Ts", "Hub-Nonce", "Hub-Sig")
NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")

GLB_HEADER: Final = struct.Struct("<4sII")  # glTF 2.0, section 4.4.2: magic, version, length
GLB_MAGIC: Final = b"glTF"
GLB_VERSION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What an engine says of the body that it sends; all of it but `build_id` in headers."""

    build_id: str
    job_id: str
    attempt_id: str
    ts: int
    nonce: str
    sig: str

    @classmethod
    def from_headers(cls, build_id: str, headers: Mapping[str, str]) -> "Upload":
        """Raises `Refused(ENGINE_PACKET_INCOMPLETE)` for a missing header or a wrong time."""
        job_id, attempt_id, ts, nonce, sig = (headers.get(name, "") for name in HEADERS)
        if not (job_id and attempt_id and NUMBER.fullmatch(ts)):
            raise Refused("ENGINE_PACKET_INCOMPLETE", reason="headers")
        return cls(
            build_id=build_id,
            job_id=job_id,
            attempt_id=attempt_id,
            ts=int(ts),
            nonce=nonce,
            sig=sig,
        )


# Before the body


def body_limit(method: str, path: str, headers: Mapping[str, str]) -> int:
    """Return how many bytes the body of a request may have, before any of it is read.

    Only an engine that proves to hold the build's finishing job may send an artifact; whoever
    cannot gets the ordinary bound, and is told why when the request is handled. `headers` are
    looked up by their names as in `HEADERS` and `Authorization`. Asks the database.
    """
    found = ARTIFACT_PATH.fullmatch(path)
    if method != "PUT" or found is None:
        return hub().http_body
    try:
        engine = _engine_of_token(headers.get("Authorization", ""))
        admit_upload(engine, Upload.from_headers(found[1], headers))
    except (Refused, tokens.TokenRefused):
        return hub().http_body
    return hub().artifact_body


def _engine_of_token(authorization: str) -> Principal:
    scheme, _, text = authorization.partition(" ")
    now = clock.now_ms() / 1000
    if scheme.lower() != "bearer":
        raise Refused("auth_invalid", reason="scheme")
    claims = tokens.verify(
        text,
        audience="hub:engine",
        token_type="access",  # noqa: S106 - the name of a kind of token
        now=now,
    )
    return resolve(claims, now=now)


def admit_upload(engine: Principal, upload: Upload, *, now: datetime | None = None) -> None:
    """Raise `Refused` unless the engine holds the build's finishing job by that attempt.

    The attempt that brought the present file passes as well: it may repeat itself after it ended.
    """
    rows = Job.objects.select_related("engine_session", "build").defer("payload", "result")
    job = rows.filter(pk=upload.job_id, build=upload.build_id).first()
    if job is None:
        raise Refused("JOB_UNKNOWN")
    session = job.engine_session
    if session is None or session.name != engine.subject:
        raise Refused("JOB_NOT_YOURS")
    if job.build.artifact_attempt == upload.attempt_id:
        return
    claim = Claim(session.id, upload.job_id, upload.attempt_id)
    at = moment(now)
    if not Job.objects.filter(claim.guard(at), pk=job.id, state__in=LIVE_STATES).exists():
        duplicate_or_refused(claim, None, at)
    if not job.finish:
        raise Refused("INVALID_TRANSITION", reason="only the finishing job brings the artifact")


# With the body


def check_signature(engine: Principal, upload: Upload, path: str, digest: str) -> None:
    """Check the signature over the body's digest, and burn its nonce. Raises `Refused`."""
    door = Door(
        scope="engine",
        drift_ms=hub().service_drift_ms,
        nonce_grace_ms=hub().nonce_grace_ms,
        rules={"artifact": PayloadRule(max_bytes=256)},
        codes=SERVICE_CODES,
    )
    gate, now_ms = Gate(door, nonces()), clock.now_ms()
    envelope = {
        "payload": f"{upload.job_id}:{upload.attempt_id}:{digest}",
        "ts": upload.ts,
        "nonce": upload.nonce,
        "sig": upload.sig,
    }
    signed = gate.verify(envelope, key=_key(engine, path), now_ms=now_ms, event="artifact")
    pending = gate.consume(signed, principal=engine.label, now_ms=now_ms)
    if pending is not None:

        async def finished() -> None:
            await pending

        async_to_sync(finished)()


def _key(engine: Principal, path: str) -> MessageKey:
    account = ServiceAccount.objects.filter(kind=engine.kind, name=engine.subject).first()
    secret = secret_of_account(account) if account else None
    if secret is None:
        raise Refused("ENGINE_SIGNATURE_INVALID", reason="no secret")
    return MessageKey(secret, direction="c2s", namespace=path, principal=engine.label, sid="")


def check_file(body: bytes) -> None:
    """Raise `Refused(payload_invalid)` unless the bytes are a binary glTF 2.0 by their header."""
    if len(body) < GLB_HEADER.size:
        raise Refused("payload_invalid", reason="shorter than a glTF header")
    if GLB_HEADER.unpack_from(body) != (GLB_MAGIC, GLB_VERSION, len(body)):
        raise Refused("payload_invalid", reason="not a binary glTF 2.0 of this length")


# Keeping


def store(engine: Principal, upload: Upload, body: bytes, *, now: datetime | None = None) -> Build:
    """Keep a file as the artifact of its build, in the place of an older attempt's.

    The same bytes of the same attempt again change nothing. Raises `Refused`: `conflict` for other
    bytes of the same attempt, `quota_exceeded`, and as `admit_upload`, which is asked again under
    the build's lock.
    """
    digest = sha256(body).hexdigest()
    build = Build.objects.filter(pk=upload.build_id).first()
    if build is None:
        raise Refused("not_found")
    if _is_stored(build, upload, digest):
        return build
    build.artifact_attempt = upload.attempt_id
    field = Build.artifact.field
    name = field.storage.save(field.generate_filename(build, "world.glb"), ContentFile(body))
    kept = ""
    try:
        build = _replace(engine, upload, name, digest, len(body), now)
        kept = build.artifact.name or ""
    finally:
        if kept != name:
            field.storage.delete(name)
    return build


def _is_stored(build: Build, upload: Upload, digest: str) -> bool:
    if build.artifact_attempt != upload.attempt_id:
        return False
    if build.artifact_sha256 != digest:
        raise Refused("conflict", reason="this attempt has brought another file")
    return True


def _replace(
    engine: Principal, upload: Upload, name: str, digest: str, size: int, now: datetime | None
) -> Build:
    with transaction.atomic():
        build = lock_build(upload.build_id)
        if build is None:
            raise Refused("not_found")
        admit_upload(engine, upload, now=now)
        if _is_stored(build, upload, digest):  # the same upload, sent twice, was quicker
            return build
        _check_quota(build, size)
        storage, old = build.artifact.storage, build.artifact.name
        build.artifact, build.artifact_attempt = name, upload.attempt_id
        build.artifact_sha256, build.artifact_size = digest, size
        build.save(
            update_fields=["artifact", "artifact_attempt", "artifact_sha256", "artifact_size"]
        )
        if old:
            transaction.on_commit(lambda: storage.delete(old))
    return build


def _check_quota(build: Build, size: int) -> None:
    others = Build.objects.filter(user_id=build.user_id).exclude(pk=build.pk)
    kept = others.aggregate(kept=Sum("artifact_size"))["kept"] or 0
    if kept + size > hub().artifact_bytes:
        raise Refused("quota_exceeded", reason="artifact_bytes", detail={"kept": kept})
