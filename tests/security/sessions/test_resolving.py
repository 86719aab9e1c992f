"""Whom a token stands for, as long as its session, its person and its key are there."""

import dataclasses
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings

from security import sessions
from security.keys import Key, KeyRing
from security.models import Session, User
from security.sessions import RequestMeta
from security.signatures import session_secret
from security.tokens import TokenInvalid, verify
from tests.security.sessions.sessions_bench import NOW, assert_lapsed, claims_of, log_in

pytestmark = pytest.mark.django_db


def test_a_login_resolves_to_its_person_by_one_query(
    ada: User, django_assert_num_queries: Any
) -> None:
    login = log_in(ada)
    with django_assert_num_queries(1):
        principal = sessions.resolve(claims_of(login), now=NOW)
    assert (principal.label, principal.username, principal.role) == (
        f"user:{ada.pk}",
        "ada",
        "user",
    )
    assert principal.session_id == login.session_id
    assert principal.expires_at == (int(NOW) + 300) * 1000


def test_the_secret_is_that_of_the_key_schedule(ada: User) -> None:
    login = log_in(ada)
    master = django_settings.KEYS.master.signing
    expected = session_secret(
        master.secret, kid=master.kid, user_id=str(ada.pk), session_id=login.session_id
    )
    assert login.secret == expected
    assert sessions.secret_of(sessions.resolve(claims_of(login), now=NOW)) == expected


def test_a_stored_session_holds_no_token(ada: User) -> None:
    login = log_in(ada)
    row = str(Session.objects.values().get())
    assert not any(part in row for part in login.tokens.refresh.split("."))
    assert login.secret.hex() not in row


def test_the_user_agent_is_cut_and_cleared_of_what_acts(ada: User) -> None:
    meta = RequestMeta(None, "a\r\nb\x1b[31m\u202e" + "c" * 500)
    sessions.open_session(ada, meta, NOW)
    stored = Session.objects.get().user_agent
    assert stored.startswith("ab[31mc")
    assert len(stored) == 200


def test_a_refresh_token_resolves_nobody(ada: User) -> None:
    with pytest.raises(TokenInvalid, match="token_type"):
        verify(log_in(ada).tokens.refresh, audience="hub:user", token_type="access", now=NOW)


def test_the_token_of_a_deleted_person_is_invalid(ada: User) -> None:
    login = log_in(ada)
    ada.delete()
    assert_lapsed(login, "session_unknown")


def test_a_token_with_another_persons_session_is_invalid(ada: User) -> None:
    claims = dataclasses.replace(claims_of(log_in(ada)), subject=str(ada.pk + 1))
    with pytest.raises(TokenInvalid, match="session_unknown"):
        sessions.resolve(claims, now=NOW)


def test_an_inactive_person_is_refused_even_where_no_hook_ran(ada: User) -> None:
    login = log_in(ada)
    User.objects.update(is_active=False)
    assert_lapsed(login, "user_inactive")


def test_a_session_ends_by_itself(ada: User) -> None:
    login = log_in(ada)
    Session.objects.update(expires_at=Session.objects.get().created_at + timedelta(seconds=10))
    assert sessions.resolve(claims_of(login), now=NOW + 9.9)
    assert_lapsed(login, "session_expired", NOW + 10)


def test_dropping_a_master_key_ends_its_sessions_and_a_new_first_one_does_not(
    ada: User, settings: Any
) -> None:
    login, old = log_in(ada), settings.KEYS.master.signing
    principal = sessions.resolve(claims_of(login), now=NOW)
    fresh = Key("fresh", bytes(range(32)))
    settings.KEYS = SimpleNamespace(jwt=settings.KEYS.jwt, master=KeyRing((fresh, old)))
    assert sessions.secret_of(sessions.resolve(claims_of(login), now=NOW)) == login.secret
    settings.KEYS = SimpleNamespace(jwt=settings.KEYS.jwt, master=KeyRing((fresh,)))
    assert_lapsed(login, "key_dropped")
    with pytest.raises(TokenInvalid, match="key_dropped"):
        sessions.secret_of(principal)


def test_staff_rights_do_not_outlive_their_loss(ada: User) -> None:
    User.objects.update(is_staff=True)
    login = log_in(User.objects.get())
    assert sessions.resolve(claims_of(login), now=NOW).role == "staff"
    User.objects.update(is_staff=False)
    assert_lapsed(login, "staff_rights_lost")
