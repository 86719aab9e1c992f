"""Tokens: how they are made and what must be true of one before anything else is asked.

The only module that knows simplejwt; it touches no database. docs/security.md: every
check but the last concerns the token's form, signature and claims, and the last is its expiry, so
``TokenExpired`` is said only of a token that was right in all else::

    TokenRefused
    |-- TokenInvalid     anything else than expiry; ``reason`` is for staff only
    '-- TokenExpired
"""

import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import jwt
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.tokens import Token

from security.conf import hub
from security.keys import KeyRing
from security.models import ServiceAccount, Session, User
from security.principals import Kind, Role
from security.signatures import BadBase64Url, from_base64url
from security.strictjson import StrictJsonError, loads

__all__ = [
    "AUDIENCES",
    "ISSUER",
    "MAX_CHARACTERS",
    "Audience",
    "Claims",
    "IssuedToken",
    "TokenExpired",
    "TokenInvalid",
    "TokenPair",
    "TokenRefused",
    "TokenType",
    "issue_for_service",
    "issue_for_session",
    "new_token_id",
    "verify",
]

ISSUER: Final = "interaction-hub"
ALGORITHM: Final = "HS256"
MAX_CHARACTERS: Final = 4_096
HEADERS: Final = frozenset({"alg", "typ", "kid"})

Audience: TypeAlias = Literal["hub:user", "hub:engine", "hub:agent"]
TokenType: TypeAlias = Literal["access", "refresh"]

AUDIENCES: Final[Mapping[Kind, Audience]] = {
    "user": "hub:user",
    "engine": "hub:engine",
    "agent": "hub:agent",
}
ROLES: Final[Mapping[str, frozenset[str]]] = {
    "hub:user": frozenset({"user", "staff"}),
    "hub:engine": frozenset({"engine"}),
    "hub:agent": frozenset({"agent"}),
}

SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
PERSON_ID: Final = re.compile(r"[1-9][0-9]{0,18}")
SERVICE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
TOKEN_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")

REQUIRED: Final[Mapping[str, type]] = {
    "iss": str,
    "aud": str,
    "exp": int,
    "iat": int,
    "jti": str,
    "sub": str,
    "token_type": str,
    "role": str,
    "sid": str,
    "tv": int,
}


class TokenRefused(Exception):
    """A token that is not taken."""


class TokenInvalid(TokenRefused):
    """A token that is wrong in something else than its age; clients never see the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the token is not valid: {self.reason}"


class TokenExpired(TokenRefused):
    """A token that was right in everything, until ``expired_at`` (seconds since the epoch)."""

    def __init__(self, expired_at: int) -> None:
        self.expired_at = expired_at
        super().__init__(expired_at)

    def __str__(self) -> str:
        return f"the token expired at {self.expired_at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a verified token says; times in seconds since the epoch, no session for services."""

    audience: Audience
    token_type: TokenType
    subject: str
    role: Role
    session_id: str
    version: int
    token_id: str
    issued_at: int
    expires_at: int

    @property
    def kind(self) -> Kind:
        return self.audience.removeprefix("hub:")  # type: ignore[return-value]  # AUDIENCES, backwards


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token and the end of its life, in milliseconds since the epoch."""

    text: str
    expires_at_ms: int

    def __repr__(self) -> str:
        return "IssuedToken(<secret>)"


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login or a refresh hands out."""

    access: str
    refresh: str
    access_expires_at_ms: int

    def __repr__(self) -> str:
        return "TokenPair(<secret>)"


# Out: issuing.


class RingBackend(TokenBackend):
    """simplejwt's backend over a ring of keys: the first key signs and is named, all verify.

    The key's name is only ever looked up in the ring. Expiry is left to ``verify``, which has the
    time as an argument; simplejwt would ask the wall clock.
    """

    def __init__(self) -> None:
        super().__init__(ALGORITHM, issuer=ISSUER)

    @property
    def ring(self) -> KeyRing:
        ring: KeyRing = settings.KEYS.jwt
        return ring

    def encode(self, payload: dict[str, Any]) -> str:
        key = self.ring.signing
        return jwt.encode(
            {**payload, "iss": self.issuer}, key.secret, self.algorithm, headers={"kid": key.kid}
        )

    def decode(self, token: str, verify: bool = True) -> dict[str, Any]:  # type: ignore[override]  # simplejwt annotates the text as its own class; never left unverified
        """The claims of a token whose signature is ours. Raises TokenInvalid."""
        key = self.ring.get(_key_id(token))
        if key is None:
            raise TokenInvalid("unknown_key")
        try:
            payload = jwt.PyJWS().decode(token, key.secret, algorithms=[self.algorithm])
        except jwt.InvalidTokenError:
            raise TokenInvalid("signature") from None
        return _json_object(payload, "claims")


class HubToken(Token):
    """A token to be. ``lifetime`` is set when it is minted; simplejwt only wants it to exist."""

    lifetime = timedelta(0)
    token_backend = RingBackend()

    @classmethod
    def mint(cls, claims: Mapping[str, object], *, now: float, expires_at: int) -> str:
        """Sign the claims. simplejwt makes a new token where it is given none."""
        token = cls()
        token.payload.update(claims)
        token.set_iat(at_time=datetime.fromtimestamp(now, UTC))
        token["exp"] = expires_at
        return str(token)


class AccessToken(HubToken):
    """What a request or a socket shows."""

    token_type = "access"  # noqa: S105 - the name of a kind of token


class RefreshToken(HubToken):
    """What buys the next pair of tokens, once."""

    token_type = "refresh"  # noqa: S105 - the name of a kind of token


def new_token_id() -> str:
    """A fresh ``jti``; 192 random bits."""
    return secrets.token_urlsafe(24)


def issue_for_session(user: User, session: Session, now: float, *, refresh_id: str) -> TokenPair:
    """A pair of tokens of this login; no token outlives the session.

    ``now`` is in seconds since the epoch; ``refresh_id`` is the refresh token's ``jti``, whose
    digest the caller stores in the session.
    """
    common = {
        "aud": AUDIENCES["user"],
        "sub": str(user.pk),
        "role": "staff" if user.is_staff else "user",
        "sid": session.pk,
        "tv": user.token_version,
    }
    last = int(session.expires_at.timestamp())
    access_end = min(int(now) + hub().access_token_s, last)
    refresh_end = min(int(now) + hub().refresh_token_s, last)
    access_claims = {**common, "jti": new_token_id()}
    return TokenPair(
        access=AccessToken.mint(access_claims, now=now, expires_at=access_end),
        refresh=RefreshToken.mint({**common, "jti": refresh_id}, now=now, expires_at=refresh_end),
        access_expires_at_ms=access_end * 1000,
    )


def issue_for_service(account: ServiceAccount, now: float) -> IssuedToken:
    """An access token of an engine or agent; ``now`` is in seconds since the epoch."""
    kind = ServiceAccount.Kind(account.kind).value
    claims = {
        "aud": f"hub:{kind}",
        "sub": account.name,
        "role": kind,
        "sid": "",
        "tv": account.key_version,
        "jti": new_token_id(),
    }
    end = int(now) + hub().service_token_s
    return IssuedToken(AccessToken.mint(claims, now=now, expires_at=end), end * 1000)


# In: verifying.


def verify(
    text: object, *, audience: Audience | Collection[Audience], token_type: TokenType, now: float
) -> Claims:
    """The claims of an authentic token for one of the audiences; ``now`` in seconds.

    Raises TokenExpired for a token that is right in all but its expiry (whose very second is too
    late), TokenInvalid for everything else. The caller then asks the database
    (``sessions.resolve``).
    """
    accepted = {audience} if isinstance(audience, str) else set(audience)
    try:
        claims = _claims(HubToken.token_backend.decode(_shaped(text)))
    except TokenInvalid:
        raise
    except Exception as error:  # docs/security.md: any exception means the token is invalid
        raise TokenInvalid("unreadable") from error
    if claims.audience not in accepted:
        raise TokenInvalid("audience")
    if claims.token_type != token_type:
        raise TokenInvalid("token_type")
    if claims.issued_at > now:
        raise TokenInvalid("issued_in_the_future")
    if now >= claims.expires_at:
        raise TokenExpired(claims.expires_at)
    return claims


def _shaped(text: object) -> str:
    if type(text) is not str:
        raise TokenInvalid("not_text")
    if len(text) > MAX_CHARACTERS:
        raise TokenInvalid("too_long")
    if not SHAPE.fullmatch(text):
        raise TokenInvalid("not_three_parts")
    return text


def _key_id(token: str) -> str:
    """The name of the key in the header, once nothing else in the header can matter."""
    try:
        header = _json_object(from_base64url(token.partition(".")[0]), "header")
    except BadBase64Url:
        raise TokenInvalid("header") from None
    if header.keys() - HEADERS:
        raise TokenInvalid("unknown_header")
    if header.get("alg") != ALGORITHM or header.get("typ", "JWT") != "JWT":
        raise TokenInvalid("algorithm")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise TokenInvalid("unknown_key")
    return kid


def _json_object(raw: bytes, part: str) -> dict[str, Any]:
    try:
        value = loads(raw)
    except StrictJsonError:
        raise TokenInvalid(part) from None
    if not isinstance(value, dict):
        raise TokenInvalid(part)
    return value


def _claims(said: Mapping[str, Any]) -> Claims:
    for name, kind in REQUIRED.items():
        if type(said.get(name)) is not kind:  # exact: a bool is an int to isinstance
            raise TokenInvalid(f"claim_{name}")
    _check_values(said)
    return Claims(
        audience=said["aud"],
        token_type=said["token_type"],
        subject=said["sub"],
        role=said["role"],
        session_id=said["sid"],
        version=said["tv"],
        token_id=said["jti"],
        issued_at=max(said["iat"], _not_before(said)),
        expires_at=said["exp"],
    )


def _check_values(said: Mapping[str, Any]) -> None:
    person = said["aud"] == AUDIENCES["user"]
    right = {
        "iss": said["iss"] == ISSUER,
        "aud": said["aud"] in ROLES,
        "role": said["role"] in ROLES.get(said["aud"], ()),
        "token_type": said["token_type"] in ("access", "refresh"),
        "sub": bool((PERSON_ID if person else SERVICE_NAME).fullmatch(said["sub"])),
        "sid": bool(SESSION_ID.fullmatch(said["sid"])) if person else said["sid"] == "",
        "jti": bool(TOKEN_ID.fullmatch(said["jti"])),
        "exp": said["exp"] > said["iat"] >= 0,
        "tv": said["tv"] > 0,
    }
    for name, holds in right.items():
        if not holds:
            raise TokenInvalid(f"claim_{name}")


def _not_before(said: Mapping[str, Any]) -> int:
    """``nbf``, which we never write and still respect: 0 where it is absent."""
    not_before = said.get("nbf", 0)
    if type(not_before) is not int:
        raise TokenInvalid("claim_nbf")
    return not_before
