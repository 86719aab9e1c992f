"""Proof of identity: a person's password, a service's signature; both may fail only so often.

Each function returns who it was or raises Refused; nothing is issued here.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.contrib.auth import authenticate
from django.http import HttpRequest

from security.conf import hub
from security.door import nonces
from security.gate import Door, Gate, PayloadRule
from security.models import ServiceAccount, User
from security.refusals import Refused
from security.rest import RefusedAbout
from security.services import secret_of_account
from security.signatures import KEY_BYTES, MessageKey
from security.throttle import limited

__all__ = ["SERVICE_TOKEN_PATH", "person_of", "service_of"]

SERVICE_TOKEN_PATH: Final = "/api/service-token/"  # noqa: S105 - an address, which is also signed
REQUEST_TYPE: Final = "token_request"
LONGEST_USERNAME: Final = 150
LONGEST_PASSWORD: Final = 1_024  # characters: hashing more is work that only an attacker asks for


def person_of(request: HttpRequest, username: str, password: str, *, ip: str) -> User:
    """The active person of that name and password.

    Raises Refused: the same for an unknown name, a wrong password and a person who is inactive,
    after the same work (Django hashes the password for an unknown name as well).
    """
    with limited(f"person:{username[:LONGEST_USERNAME]}", ip, now=time.monotonic()):
        user = None
        if len(username) <= LONGEST_USERNAME and len(password) <= LONGEST_PASSWORD:
            user = authenticate(request, username=username, password=password)
        if not isinstance(user, User):
            raise _wrong_credentials(username)
    return user


def _wrong_credentials(username: str) -> RefusedAbout:
    # The name goes into the record only if it is somebody's: others may be a mistyped password.
    named = User.objects.filter(username=username[:LONGEST_USERNAME]).first()
    reason = "unknown_name" if named is None else "wrong_password"
    if named is not None and not named.is_active:
        reason = "inactive"
    return RefusedAbout(
        "invalid_credentials",
        reason=reason,
        user_id=named.pk if named else None,
        detail={"username": named.username} if named else {},
    )


def service_of(body: Mapping[str, Any], *, ip: str, now_ms: int) -> ServiceAccount:
    """The enabled service that signed the request ``{kind, name, ts, nonce, sig}``.

    An unknown service is refused as a wrong signature, after the same work. Raises Refused.
    """
    kind, name = body["kind"], body["name"]
    if kind not in ServiceAccount.Kind.values:
        raise Refused("malformed", reason="body_kind")
    with limited(f"service:{kind}:{name[:64]}", ip, now=time.monotonic()):
        account = ServiceAccount.objects.filter(kind=kind, name=name).first()
        _check_signature(body, _key(account, f"{kind}:{name}"), now_ms)
        if account is None or not account.enabled:
            raise Refused("forbidden", reason="service_disabled", detail={"service": str(account)})
    return account


def _key(account: ServiceAccount | None, principal: str) -> MessageKey:
    secret = secret_of_account(account) if account else None
    return MessageKey(
        secret or secrets.token_bytes(KEY_BYTES),  # nobody has this one, so nothing matches
        direction="c2s",
        namespace=SERVICE_TOKEN_PATH,
        principal=principal,
        sid="",
    )


def _check_signature(body: Mapping[str, Any], key: MessageKey, now_ms: int) -> None:
    """Checks 4 to 8 of docs/security.md, with an empty payload. Raises Refused."""
    gate = Gate(_door(body["kind"]), nonces())
    envelope = {"payload": "", **{name: body[name] for name in ("ts", "nonce", "sig")}}
    try:
        signed = gate.verify(envelope, key=key, now_ms=now_ms, event=REQUEST_TYPE)
    except Refused as refused:
        if refused.code == "timestamp_expired":  # so that an honest engine can correct its clock
            refused.public["server_time"] = now_ms
        raise
    pending = gate.consume(signed, principal=f"{body['kind']}:{body['name']}", now_ms=now_ms)
    if pending is not None:

        async def finished() -> None:
            await pending

        async_to_sync(finished)()


def _door(kind: str) -> Door:
    return Door(
        scope=kind,
        drift_ms=hub().service_drift_ms,
        nonce_grace_ms=hub().nonce_grace_ms,
        rules={REQUEST_TYPE: PayloadRule(max_bytes=0)},
    )
