"""Refresh tokens serve once, and one that comes back late ends its session."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from security import sessions
from security.models import Session, User
from security.sessions import RefreshReused
from security.tokens import TokenExpired, TokenInvalid
from tests.security.sessions.sessions_bench import NOW, assert_lapsed, claims_of, log_in

pytestmark = pytest.mark.django_db


def test_a_refresh_gives_a_pair_of_the_same_session_and_secret(ada: User) -> None:
    login = log_in(ada)
    second = sessions.refresh(login.tokens.refresh, NOW + 5)
    assert second.session_id == login.session_id
    assert second.secret == login.secret
    assert sessions.resolve(claims_of(second, NOW + 5), now=NOW + 5)
    assert sessions.refresh(second.tokens.refresh, NOW + 6)


def test_a_spent_token_is_merely_refused_for_ten_seconds(ada: User) -> None:
    login = log_in(ada)
    second = sessions.refresh(login.tokens.refresh, NOW)
    with pytest.raises(TokenInvalid) as caught:
        sessions.refresh(login.tokens.refresh, NOW + 10)
    assert caught.value.reason == "refresh_spent"
    assert sessions.refresh(second.tokens.refresh, NOW + 11)


def test_a_spent_token_later_ends_the_session(ada: User, ended: Any, committed: Any) -> None:
    login = log_in(ada)
    second = sessions.refresh(login.tokens.refresh, NOW)
    with committed(), pytest.raises(RefreshReused) as caught:
        sessions.refresh(login.tokens.refresh, NOW + 10.5)
    assert (caught.value.user_id, caught.value.session_id) == (ada.pk, login.session_id)
    assert Session.objects.get().revoked_because == "refresh_reuse"
    assert ended == [
        {"user_id": ada.pk, "session_id": login.session_id, "because": "refresh_reuse"}
    ]
    assert_lapsed(second, "session_revoked")
    with pytest.raises(TokenInvalid, match="session_revoked"):
        sessions.refresh(second.tokens.refresh, NOW + 11)


def test_a_token_older_than_the_last_ends_the_session_at_once(ada: User) -> None:
    first = log_in(ada)
    second = sessions.refresh(first.tokens.refresh, NOW)
    sessions.refresh(second.tokens.refresh, NOW)
    with pytest.raises(RefreshReused):
        sessions.refresh(first.tokens.refresh, NOW)


def test_role_and_token_version_are_read_anew(ada: User) -> None:
    login = log_in(ada)
    User.objects.update(is_staff=True)
    second = sessions.refresh(login.tokens.refresh, NOW)
    assert claims_of(second).role == "staff"
    User.objects.update(token_version=9)
    with pytest.raises(TokenInvalid, match="token_version"):
        sessions.refresh(second.tokens.refresh, NOW)


def test_an_access_token_refreshes_nothing(ada: User) -> None:
    with pytest.raises(TokenInvalid, match="token_type"):
        sessions.refresh(log_in(ada).tokens.access, NOW)


def test_an_expired_refresh_token_is_expired(ada: User) -> None:
    with pytest.raises(TokenExpired):
        sessions.refresh(log_in(ada).tokens.refresh, NOW + 86_400)


@pytest.mark.django_db(transaction=True)
def test_of_eight_who_refresh_at_once_one_wins_and_the_session_lives() -> None:
    login = log_in(User.objects.create_user("grace", password="x"))

    def attempt(_number: int) -> str:
        try:
            sessions.refresh(login.tokens.refresh, NOW)
        except TokenInvalid as refused:
            return refused.reason
        finally:
            connection.close()
        return "won"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(attempt, range(8)))
    assert outcomes == ["refresh_spent"] * 7 + ["won"]
    assert Session.objects.get().revoked_at is None
