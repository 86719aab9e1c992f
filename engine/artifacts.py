"""The built file of a build, and its picture: who may bring them, what they must be, how kept.

An upload is admitted in two steps. Before its body is read: the token, and the live attempt of that
engine (`admit_upload`). With the body: the signature over its SHA-256, the nonce, the file itself
(`check_signature`, `engine.brought`). It is then stored once per attempt (`store`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import F, Sum
from django.db.models.fields.files import FieldFile

from engine.brought import check_glb, check_png
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

__all__ = [
    "ARTIFACT",
    "KINDS",
    "THUMBNAIL",
    "Kept",
    "Kind",
    "Upload",
    "admit_upload",
    "body_limit",
    "check_signature",
    "kept_bytes",
    "store",
]

UPLOAD_PATH: Final = re.compile(r"/api/builds/([A-Za-z0-9_-]{1,24})/(artifact|thumbnail)/")
HEADERS: Final = ("Hub-Job", "Hub-Attempt", "Hub-Ts", "Hub-Nonce", "Hub-Sig")
NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that a build has; `name` begins its fields and ends its address."""

    name: str
    check: Callable[[bytes], None]
    content_type: str
    ending: str

    def of(self, build: Build) -> "Kept":
        """Return what is kept of this kind for a build."""
        return Kept(
            file=getattr(build, self.name),
            sha256=getattr(build, f"{self.name}_sha256"),
            attempt=getattr(build, f"{self.name}_attempt"),
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored file, or the empty place for one: then `attempt` is empty."""

    file: FieldFile
    sha256: str
    attempt: str


ARTIFACT: Final = Kind("artifact", check_glb, "model/gltf-binary", "glb")
THUMBNAIL: Final = Kind("thumbnail", check_png, "image/png", "png")
KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in (ARTIFACT, THUMBNAIL)}


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

    Only an engine that proves to hold the build's finishing job may send its files; whoever
    cannot gets the ordinary bound, and is told why when the request is handled. `headers` are
    looked up by their names as in `HEADERS` and `Authorization`. Asks the database.
    """
    found = UPLOAD_PATH.fullmatch(path)
    if method != "PUT" or found is None:
        return hub().http_body
    try:
        engine = _engine_of_token(headers.get("Authorization", ""))
        admit_upload(engine, Upload.from_headers(found[1], headers), KINDS[found[2]])
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


def admit_upload(
    engine: Principal, upload: Upload, kind: Kind, *, now: datetime | None = None
) -> None:
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
    if kind.of(job.build).attempt == upload.attempt_id:
        return
    claim = Claim(session.id, upload.job_id, upload.attempt_id)
    at = moment(now)
    if not Job.objects.filter(claim.guard(at), pk=job.id, state__in=LIVE_STATES).exists():
        duplicate_or_refused(claim, None, at)
    if not job.finish:
        raise Refused("INVALID_TRANSITION", reason="only the finishing job brings files")


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


# Keeping


def store(
    engine: Principal, upload: Upload, kind: Kind, body: bytes, *, now: datetime | None = None
) -> Build:
    """Keep a file as the artifact or the thumbnail of its build, in the place of an older one.

    The same bytes of the same attempt again change nothing. Raises `Refused`: `conflict` for other
    bytes of the same attempt, `quota_exceeded`, and as `admit_upload`, which is asked again under
    the build's lock.
    """
    digest = sha256(body).hexdigest()
    build = Build.objects.filter(pk=upload.build_id).first()
    if build is None:
        raise Refused("not_found")
    if _is_stored(build, upload, kind, digest):
        return build
    setattr(build, f"{kind.name}_attempt", upload.attempt_id)
    empty = kind.of(build).file
    name = empty.storage.save(empty.field.generate_filename(build, "made"), ContentFile(body))
    kept = ""
    try:
        build = _replace(engine, upload, kind, _File(name, digest, len(body)), now)
        kept = kind.of(build).file.name or ""
    finally:
        if kept != name:
            empty.storage.delete(name)
    return build


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was written down and belongs to no build yet."""

    name: str
    sha256: str
    size: int


def _is_stored(build: Build, upload: Upload, kind: Kind, digest: str) -> bool:
    kept = kind.of(build)
    if kept.attempt != upload.attempt_id:
        return False
    if kept.sha256 != digest:
        raise Refused("conflict", reason="this attempt has brought another file")
    return True


def _replace(
    engine: Principal, upload: Upload, kind: Kind, file: _File, now: datetime | None
) -> Build:
    with transaction.atomic():
        build = lock_build(upload.build_id)
        if build is None:
            raise Refused("not_found")
        admit_upload(engine, upload, kind, now=now)
        if _is_stored(build, upload, kind, file.sha256):  # the same, sent twice, was quicker
            return build
        _check_quota(build, kind, file.size)
        old = kind.of(build).file
        storage, replaced = old.storage, old.name
        _record(build, kind, file, upload.attempt_id)
        if replaced:
            transaction.on_commit(lambda: storage.delete(replaced))
    return build


def _record(build: Build, kind: Kind, file: _File, attempt_id: str) -> None:
    """Write down which file a build has of a kind."""
    fields = {"": file.name, "_sha256": file.sha256, "_size": file.size, "_attempt": attempt_id}
    for ending, value in fields.items():
        setattr(build, kind.name + ending, value)
    build.save(update_fields=[kind.name + ending for ending in fields])


def _check_quota(build: Build, kind: Kind, size: int) -> None:
    kept = kept_bytes(build.user_id) - getattr(build, f"{kind.name}_size")
    if kept + size > hub().artifact_bytes:
        raise Refused("quota_exceeded", reason="artifact_bytes", detail={"kept": kept})


def kept_bytes(user_id: int) -> int:
    """Return how much is kept of a person's artifacts, with the thumbnails beside them."""
    both = F("artifact_size") + F("thumbnail_size")
    files = Build.objects.filter(user_id=user_id, artifact_size__gt=0)  # as the index has it
    kept = files.aggregate(kept=Sum(both))["kept"]
    return kept or 0
