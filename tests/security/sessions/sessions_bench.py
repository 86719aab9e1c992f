"""Logins and tokens at a moment that the test names."""

import pytest

from security import sessions
from security.models import ServiceAccount, User
from security.sessions import Login, RequestMeta
from security.tokens import Claims, TokenInvalid, issue_for_service, verify

NOW = 1_800_000_000.0


def log_in(user: User, now: float = NOW) -> Login:
    return sessions.open_session(user, RequestMeta("198.51.100.1", "Firefox"), now)


def claims_of(login: Login, now: float = NOW) -> Claims:
    return verify(login.tokens.access, audience="hub:user", token_type="access", now=now)


def assert_lapsed(login: Login, reason: str, now: float = NOW) -> None:
    with pytest.raises(TokenInvalid) as caught:
        sessions.resolve(claims_of(login, now), now=now)
    assert caught.value.reason == reason


def service_claims(account: ServiceAccount) -> Claims:
    token = issue_for_service(account, NOW)
    return verify(token.text, audience="hub:engine", token_type="access", now=NOW)
