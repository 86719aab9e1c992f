"""Builds over HTTP, through all of Django: a person who reads, and an engine that signs uploads."""

import json
import secrets
import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from engine.clock import database_now
from security import clock, services
from security.models import ServiceAccount
from security.services import secret_of_account
from security.sessions import RequestMeta, open_session
from security.signatures import MessageKey
from security.tokens import issue_for_service


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
