"""The identity API through its real addresses, and messages that services sign for it."""

import secrets
from typing import Any

import orjson
from django.test import Client

from security import clock
from security.signatures import MessageKey, from_base64url

PASSWORD = "correct horse battery"
CLIENT = Client()  # one, because each loads the middleware anew


class Nonces:
    """A store that remembers for ever; what is stored where is the upper floor's business."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, str]] = set()
        self.expiry: list[int] = []

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> bool:
        self.expiry.append(expires_at_ms)
        new = (scope, principal, nonce) not in self.seen
        self.seen.add((scope, principal, nonce))
        return new


def post(path: str, body: Any, **more: Any) -> Any:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    more.setdefault("content_type", "application/json")
    return CLIENT.post(f"/api/{path}", content, **more)


def log_in(password: str = PASSWORD, username: str = "ada", **more: Any) -> Any:
    return post("token/", {"username": username, "password": password}, **more)


def refusal(response: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert body["message"]
    return body


def request_of(secret: str, *, signed_as: str = "token_request", **changes: Any) -> Any:
    body = {
        "kind": "engine",
        "name": "engine-1",
        "ts": clock.now_ms(),
        "nonce": secrets.token_urlsafe(24),
        **changes,
    }
    key = MessageKey(
        from_base64url(secret),
        direction="c2s",
        namespace="/api/service-token/",
        principal=f"{body['kind']}:{body['name']}",
        sid="",
    )
    sig = key.sign(type=signed_as, ts=body["ts"], nonce=body["nonce"], payload="")
    return {**body, "sig": sig}
