"""Who makes an HTTP request: bearer tokens of people and services, and the admin's session.

The token is checked in full (``security.tokens``, then ``security.sessions``); ``request.auth`` is
then a Principal. A refused token is an AuthenticationFailed whose cause is the Refused that
``security.rest.answer_error`` reports and answers, because REST framework catches only its own kind
here.
"""

from typing import Any, ClassVar

from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from security import clock
from security.blocks import is_blocked
from security.models import User
from security.principals import Principal
from security.refusals import Refused
from security.rest import RefusedAbout
from security.sessions import PrincipalBlocked, RefreshReused, resolve, resolve_person
from security.tokens import Audience, Claims, TokenExpired, TokenRefused, verify

__all__ = [
    "AnyBearerAuthentication",
    "BearerAuthentication",
    "ServiceAuthentication",
    "StaffSessionAuthentication",
    "refusal_of",
]


def refusal_of(error: TokenRefused) -> Refused:
    """What a client is told of a refused token: expired, blocked, or invalid and nothing finer."""
    if isinstance(error, TokenExpired):
        return Refused("auth_expired", detail={"expired_at": error.expired_at})
    if isinstance(error, RefreshReused):
        return RefusedAbout(
            "auth_invalid",
            kind="refresh_reuse",
            reason=error.reason,
            user_id=error.user_id,
            login_session=error.session_id,
        )
    if isinstance(error, PrincipalBlocked):
        return Refused("PENALTY", reason=error.reason, retry_after_ms=error.wait_ms)
    return Refused("auth_invalid", reason=getattr(error, "reason", ""))


class BearerAuthentication(BaseAuthentication):
    """A person's access token; ``request.user`` is the User."""

    audiences: ClassVar[frozenset[Audience]] = frozenset({"hub:user"})

    def authenticate(self, request: Request) -> tuple[User | Principal, Principal] | None:
        scheme, _, text = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        now = clock.now_ms() / 1000
        try:
            claims = verify(
                text.decode("latin-1"),
                audience=self.audiences,
                token_type="access",  # noqa: S106 - the name of a kind of token
                now=now,
            )
            return self._resolved(claims, now)
        except TokenRefused as error:
            raise AuthenticationFailed from refusal_of(error)

    def authenticate_header(self, _request: Request) -> str:
        """Makes REST framework answer 401, not 403."""
        return 'Bearer realm="hub"'

    def _resolved(self, claims: Claims, now: float) -> tuple[User | Principal, Principal]:
        if claims.kind == "user":
            return resolve_person(claims, now=now)
        principal = resolve(claims, now=now)
        return principal, principal


class ServiceAuthentication(BearerAuthentication):
    """An engine's access token; ``request.user`` is the Principal as well."""

    audiences = frozenset({"hub:engine"})


class AnyBearerAuthentication(BearerAuthentication):
    """A person's or an engine's token, for what both may read."""

    audiences = frozenset({"hub:user", "hub:engine"})


class StaffSessionAuthentication(SessionAuthentication):
    """The admin's own session of an active member of staff, for what the console fetches."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        user = getattr(request._request, "user", None)  # noqa: SLF001 - as the base class does: `request.user` would ask us again
        if not (isinstance(user, User) and user.is_active and user.is_staff):
            return None
        if is_blocked(f"user:{user.pk}", clock.moment(clock.now_ms())):
            raise AuthenticationFailed from Refused("PENALTY", reason="blocked")
        self.enforce_csrf(request)
        return user, _staff_principal(user, request)


def _staff_principal(user: User, request: Request) -> Principal:
    """Staff by a cookie: no login session of the hub, hence nothing to sign with."""
    return Principal(
        kind="user",
        subject=str(user.pk),
        username=user.username,
        role="staff",
        session_id="",
        kid="",
        version=user.token_version,
        expires_at=int(request.session.get_expiry_date().timestamp() * 1000),
    )
