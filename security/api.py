"""The HTTP doors to identity: login, refresh, logout, service tokens, and the time (docs/wire.md).

Thin: bodies are checked for form here, everything else happens in ``security.logins``,
``security.sessions`` and ``security.tokens``.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from security import audit, clock
from security.addresses import address_of
from security.authentication import refusal_of
from security.logins import person_of, service_of
from security.models import ServiceAccount
from security.rest import exact_body
from security.sessions import Login, RequestMeta, open_session, refresh, revoke
from security.signatures import to_base64url
from security.throttle import limited
from security.tokens import TokenRefused, issue_for_service

__all__ = ["RefreshView", "RevokeView", "ServiceTokenView", "TimeView", "TokenView"]

V = TypeVar("V", bound=Callable[..., Response])

LOGIN_BODY: Final = {"username": str, "password": str}
REFRESH_BODY: Final = {"refresh": str}
SERVICE_BODY: Final = {"kind": str, "name": str, "ts": int, "nonce": str, "sig": str}
TIME_ANSWER: Final = {"server_time": int}
ACCESS_ANSWER: Final = {"access": str, "access_expires_at": int, **TIME_ANSWER}
REFRESH_ANSWER: Final = {**ACCESS_ANSWER, "refresh": str}
LOGIN_ANSWER: Final = {**REFRESH_ANSWER, "session_secret": str}


def _schema(shape: Mapping[str, type]) -> dict[str, Any]:
    """The JSON Schema of an object with exactly these keys, for the API document."""
    kinds = {str: "string", int: "integer"}
    return {
        "type": "object",
        "properties": {name: {"type": kinds[kind]} for name, kind in shape.items()},
        "required": list(shape),
        "additionalProperties": False,
    }


def _described(body: Mapping[str, type], answer: Mapping[str, type] | None) -> Callable[[V], V]:
    answers = {200: _schema(answer)} if answer else {204: None}
    described: Callable[[V], V] = extend_schema(
        request={"application/json": _schema(body)}, responses=answers, auth=[]
    )
    return described


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # it registers itself
    """How the API document names the tokens of ``security.authentication``."""

    target_class = "security.authentication.BearerAuthentication"
    name = "person"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class ServiceScheme(BearerScheme):  # type: ignore[no-untyped-call]  # as above
    """An engine's token."""

    target_class = "security.authentication.ServiceAuthentication"
    name = "engine"


class AnyBearerScheme(BearerScheme):  # type: ignore[no-untyped-call]  # as above
    """Either of them."""

    target_class = "security.authentication.AnyBearerAuthentication"
    name = "personOrEngine"


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """The admin's own cookie."""

    target_class = "security.authentication.StaffSessionAuthentication"
    name = "staffSession"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class OpenView(APIView):
    """A view for those who have no token yet."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class TokenView(OpenView):
    """Log in."""

    @_described(LOGIN_BODY, LOGIN_ANSWER)
    def post(self, request: Request) -> Response:
        body, ip = exact_body(request.data, LOGIN_BODY), address_of(request)
        user = person_of(request._request, body["username"], body["password"], ip=ip)  # noqa: SLF001 - Django's own request, for its backends
        meta = RequestMeta(ip=ip or None, user_agent=request.headers.get("User-Agent", ""))
        login = open_session(user, meta, clock.now_ms() / 1000)
        _audit_login("token_issued", login, ip)
        return _answer({**_pair(login), "session_secret": to_base64url(login.secret)})


class RefreshView(OpenView):
    """Spend a refresh token for a new pair."""

    @_described(REFRESH_BODY, REFRESH_ANSWER)
    def post(self, request: Request) -> Response:
        body, ip = exact_body(request.data, REFRESH_BODY), address_of(request)
        with limited("", ip, now=time.monotonic()):
            try:
                login = refresh(body["refresh"], clock.now_ms() / 1000)
            except TokenRefused as error:
                raise refusal_of(error) from None
        _audit_login("token_refreshed", login, ip)
        return _answer(_pair(login))


class RevokeView(OpenView):
    """Log out: the session of a refresh token ends everywhere."""

    @_described(REFRESH_BODY, None)
    def post(self, request: Request) -> Response:
        body, ip = exact_body(request.data, REFRESH_BODY), address_of(request)
        with limited("", ip, now=time.monotonic()):
            try:
                claims = revoke(body["refresh"], clock.now_ms() / 1000)
            except TokenRefused as error:
                raise refusal_of(error) from None
        audit.append(
            "token_revoked",
            principal=f"user:{claims.subject}",
            user_id=int(claims.subject),
            login_session=claims.session_id,
            ip=ip or None,
        )
        return Response(status=204)


class ServiceTokenView(OpenView):
    """An engine or agent proves its secret and gets a token."""

    @_described(SERVICE_BODY, ACCESS_ANSWER)
    def post(self, request: Request) -> Response:
        body, ip = exact_body(request.data, SERVICE_BODY), address_of(request)
        now_ms = clock.now_ms()
        account = service_of(body, ip=ip, now_ms=now_ms)
        token = issue_for_service(account, now_ms / 1000)
        at = datetime.fromtimestamp(now_ms / 1000, UTC)
        ServiceAccount.objects.filter(pk=account.pk).update(last_token_at=at)
        audit.append("token_issued", principal=str(account), ip=ip or None)
        return _answer({"access": token.text, "access_expires_at": token.expires_at_ms})


class TimeView(OpenView):
    """The hub's clock."""

    @extend_schema(responses={200: _schema(TIME_ANSWER)}, auth=[])
    def get(self, _request: Request) -> Response:
        return _answer({})


def _pair(login: Login) -> dict[str, object]:
    return {
        "access": login.tokens.access,
        "refresh": login.tokens.refresh,
        "access_expires_at": login.tokens.access_expires_at_ms,
    }


def _answer(body: Mapping[str, object]) -> Response:
    """The body with the hub's time; no cache may keep it."""
    return Response({**body, "server_time": clock.now_ms()}, headers={"Cache-Control": "no-store"})


def _audit_login(action: str, login: Login, ip: str) -> None:
    audit.append(
        action,
        principal=f"user:{login.user_id}",
        user_id=login.user_id,
        login_session=login.session_id,
        ip=ip or None,
    )
