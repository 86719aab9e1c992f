"""Login sessions, and the question whether an authentic token still stands for somebody.

Synchronous; each function is one transaction. ``now`` is in seconds since the epoch. A session row
keeps the SHA-256 of its current refresh token's id, so a stolen database holds no token. A refresh
token buys one pair; whoever shows it again later than a moment is, or was robbed by, a thief, and
the session ends (docs/security.md, "Identities")::

    TokenInvalid
    |-- PrincipalBlocked   staff keep the principal out for a time
    '-- RefreshReused      an old refresh token came back; its session was revoked
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Subquery

from security.conf import hub
from security.models import Block, ServiceAccount, Session, User
from security.principals import Principal
from security.signals import announce_sessions_ended
from security.signatures import service_secret, session_secret
from security.tokens import (
    Claims,
    TokenInvalid,
    TokenPair,
    issue_for_session,
    new_token_id,
    verify,
)

__all__ = [
    "Login",
    "PrincipalBlocked",
    "RefreshReused",
    "RequestMeta",
    "end_session",
    "end_sessions",
    "lapsed",
    "open_session",
    "refresh",
    "resolve",
    "resolve_person",
    "revoke",
    "secret_of",
]

REUSE_GRACE: Final = timedelta(seconds=10)  # two tabs of one browser may refresh at once
USER_AGENT_CHARACTERS: Final = 200


class RefreshReused(TokenInvalid):
    """A refresh token was shown after another had replaced it, by someone: its session is over."""

    def __init__(self, user_id: int, session_id: str) -> None:
        self.user_id, self.session_id = user_id, session_id
        super().__init__("refresh_reuse")


class PrincipalBlocked(TokenInvalid):
    """The token is right, but staff have shut its holder out; ``wait_ms`` is what is left of it."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        super().__init__("blocked")


@dataclass(frozen=True, slots=True)
class RequestMeta:
    """Where a login came from. ``ip`` is None where the server does not know."""

    ip: str | None = None
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A session with fresh tokens."""

    user_id: int
    session_id: str
    kid: str
    tokens: TokenPair

    @property
    def secret(self) -> bytes:
        """The session's 32-byte secret; shown once, at login."""
        return _session_secret(self.kid, str(self.user_id), self.session_id)


# The life of a session.


def open_session(user: User, meta: RequestMeta, now: float) -> Login:
    """Begin a session for a person whose password was right."""
    at, refresh_id = _datetime(now), new_token_id()
    with transaction.atomic():
        session = Session.objects.create(
            id=secrets.token_urlsafe(18),
            user=user,
            kid=settings.KEYS.master.signing.kid,
            refresh_digest=_digest(refresh_id),
            rotated_at=at,
            created_at=at,
            expires_at=at + timedelta(seconds=hub().session_life_s),
            ip=meta.ip or None,
            user_agent=_printable(meta.user_agent),
        )
        User.objects.filter(pk=user.pk).update(last_login=at)
    return _login(session, refresh_id, now)


def refresh(refresh_text: object, now: float) -> Login:
    """Spend a refresh token for a new pair; role and token version are read anew.

    Raises TokenExpired, TokenInvalid, or RefreshReused after the session was revoked.
    """
    claims = verify(refresh_text, audience="hub:user", token_type="refresh", now=now)  # noqa: S106 - a kind of token
    refresh_id = new_token_id()
    with transaction.atomic():
        session = _live_session(claims, now)
        if _rotate(session, claims.token_id, refresh_id, now):
            return _login(session, refresh_id, now)
        session.refresh_from_db()
        reused = _is_reuse(session, claims.token_id, now)
        if reused:
            end_session(session, "refresh_reuse", now)
    # outside, because an exception would take back what was just written
    if reused:
        raise RefreshReused(session.user_id, session.pk)
    raise TokenInvalid("refresh_spent")


def revoke(refresh_text: object, now: float) -> Claims:
    """End the session that a refresh token belongs to; one that is over already stays so.

    Any authentic refresh token of the session will do, also a spent one: whoever has it may log
    out. Raises TokenExpired, TokenInvalid.
    """
    claims = verify(refresh_text, audience="hub:user", token_type="refresh", now=now)  # noqa: S106 - a kind of token
    with transaction.atomic():
        session = Session.objects.filter(pk=claims.session_id, user_id=int(claims.subject)).first()
        if session is not None:
            end_session(session, "revoked", now)
    return claims


def end_session(session: Session, because: str, now: float) -> bool:
    """End one login and, through the signal, its live sockets; false where it was over already."""
    with transaction.atomic():
        ended = Session.objects.filter(pk=session.pk).end(because, _datetime(now)) > 0
        if ended:
            announce_sessions_ended(session.user_id, session.pk, because=because)
    return ended


def end_sessions(user: User, now: float, *, because: str = "ended_by_staff") -> None:
    """End all logins of a person: tokens, sessions and, through the signal, live sockets."""
    user.end_logins(because, _datetime(now))


def _rotate(session: Session, old_id: str, new_id: str, now: float) -> bool:
    """Compare and set: of all who show the same token, one wins."""
    old = _digest(old_id)
    return bool(
        Session.objects.filter(pk=session.pk, revoked_at=None, refresh_digest=old).update(
            refresh_digest=_digest(new_id), previous_digest=old, rotated_at=_datetime(now)
        )
    )


def _is_reuse(session: Session, token_id: str, now: float) -> bool:
    just_spent = session.previous_digest == _digest(token_id)
    return not (just_spent and _datetime(now) - session.rotated_at <= REUSE_GRACE)


def _login(session: Session, refresh_id: str, now: float) -> Login:
    return Login(
        user_id=session.user_id,
        session_id=session.pk,
        kid=session.kid,
        tokens=issue_for_session(session.user, session, now, refresh_id=refresh_id),
    )


# Whom a token stands for.


def resolve(claims: Claims, *, now: float) -> Principal:
    """The principal of verified claims, by one query.

    Raises TokenInvalid where they lapsed, PrincipalBlocked where staff keep it out.
    """
    if claims.kind == "user":
        return resolve_person(claims, now=now)[1]
    block = _blocked_until(f"{claims.kind}:{claims.subject}", now)
    accounts = ServiceAccount.objects.annotate(blocked_until=block)
    account = accounts.filter(kind=claims.kind, name=claims.subject).first()
    if account is None or not account.enabled:
        raise TokenInvalid("service_unknown" if account is None else "service_disabled")
    if account.key_version != claims.version:
        raise TokenInvalid("key_version")
    _refuse_blocked(account.blocked_until, now)
    return _principal(claims, username=account.name, kid=_known(account.kid))


def resolve_person(claims: Claims, *, now: float) -> tuple[User, Principal]:
    """As ``resolve`` for a person, with the row that was read anyway."""
    session = _live_session(claims, now)
    user = session.user
    if claims.role == "staff" and not user.is_staff:
        raise TokenInvalid("staff_rights_lost")
    _refuse_blocked(session.blocked_until, now)
    return user, _principal(claims, username=user.username, kid=session.kid)


def lapsed(principals: Collection[Principal], *, now: float) -> frozenset[Principal]:
    """Those who could not come in any more: a query for people, services and blocks each.

    For the regular look at who is connected; what a token says of itself is not looked at again.
    """
    people = {each.session_id for each in principals if each.kind == "user"}
    services = {each.subject for each in principals if each.kind != "user"}
    sessions = Session.objects.select_related("user").in_bulk(people) if people else {}
    rows = ServiceAccount.objects.filter(name__in=services, enabled=True) if services else ()
    accounts = {(row.kind, row.name): row.key_version for row in rows}
    holding = Block.objects.holding(_datetime(now)) if principals else Block.objects.none()
    blocked = set(holding.values_list("principal", flat=True))
    return frozenset(
        each
        for each in principals
        if each.label in blocked
        or not (
            _session_stands(each, sessions.get(each.session_id), now)
            if each.kind == "user"
            else accounts.get((each.kind, each.subject)) == each.version
        )
    )


def secret_of(principal: Principal) -> bytes:
    """The 32-byte secret that the principal signs with. Raises TokenInvalid for a dropped key."""
    if principal.kind == "user":
        return _session_secret(principal.kid, principal.subject, principal.session_id)
    return service_secret(
        _master(principal.kid),
        kid=principal.kid,
        kind=principal.kind,
        name=principal.subject,
        key_version=principal.version,
    )


def _live_session(claims: Claims, now: float) -> Any:  # noqa: ANN401 - a Session with its block
    session = (
        Session.objects.select_related("user")
        .annotate(blocked_until=_blocked_until(f"user:{claims.subject}", now))
        .filter(pk=claims.session_id, user_id=int(claims.subject))
        .first()
    )
    if session is None:
        raise TokenInvalid("session_unknown")
    for reason, holds in _reasons(session, version=claims.version, now=now).items():
        if holds:
            raise TokenInvalid(reason)
    _known(session.kid)
    return session


def _blocked_until(label: str, now: float) -> Subquery:
    """The latest end of the blocks that hold, so that nobody who comes in costs a second query."""
    holding = Block.objects.holding(_datetime(now)).filter(principal=label)
    return Subquery(holding.order_by("-until").values("until")[:1])


def _refuse_blocked(until: datetime | None, now: float) -> None:
    if until is not None:
        raise PrincipalBlocked((until - _datetime(now)) // timedelta(milliseconds=1))


def _session_stands(principal: Principal, session: Session | None, now: float) -> bool:
    if session is None or str(session.user_id) != principal.subject:
        return False
    if principal.is_staff and not session.user.is_staff:
        return False
    return not any(_reasons(session, version=principal.version, now=now).values())


def _reasons(session: Session, *, version: int, now: float) -> dict[str, bool]:
    """Each reason why a session may stand for nobody, and whether it holds."""
    return {
        "session_revoked": session.revoked_at is not None,
        "session_expired": session.expires_at <= _datetime(now),
        "user_inactive": not session.user.is_active,
        "token_version": session.user.token_version != version,
    }


def _principal(claims: Claims, *, username: str, kid: str) -> Principal:
    return Principal(
        kind=claims.kind,
        subject=claims.subject,
        username=username,
        role=claims.role,
        session_id=claims.session_id,
        kid=kid,
        version=claims.version,
        expires_at=claims.expires_at * 1000,
        token_id=claims.token_id,
    )


def _session_secret(kid: str, user_id: str, session_id: str) -> bytes:
    return session_secret(_master(kid), kid=kid, user_id=user_id, session_id=session_id)


def _known(kid: str) -> str:
    _master(kid)
    return kid


def _master(kid: str) -> bytes:
    key = settings.KEYS.master.get(kid)
    if key is None:
        raise TokenInvalid("key_dropped")
    secret: bytes = key.secret
    return secret


def _digest(token_id: str) -> str:
    return sha256(token_id.encode()).hexdigest()


def _datetime(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)


def _printable(text: str) -> str:
    return "".join(each for each in text if each.isprintable())[:USER_AGENT_CHARACTERS]
