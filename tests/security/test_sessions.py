"""Login sessions: rotation, reuse, the ends of a session, and whom a token stands for."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import make_password
from django.db import connection

from security import services, sessions
from security.keys import Key, KeyRing
from security.models import ServiceAccount, Session, User
from security.sessions import Login, RefreshReused, RequestMeta
from security.signals import service_ended, sessions_ended
from security.signatures import service_secret, session_secret
from security.tokens import (
    Claims,
    TokenExpired,
    TokenInvalid,
    issue_for_service,
    verify,
)

NOW = 1_800_000_000.0
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="correct horse")


@pytest.fixture
def ended(django_capture_on_commit_callbacks: Any) -> Iterator[list[dict[str, Any]]]:
    """What the signal said; read it after the block that the test makes with ``committed``."""
    heard: list[dict[str, Any]] = []

    def hear(**facts: Any) -> None:
        heard.append({key: facts[key] for key in facts if key not in ("signal", "sender")})

    sessions_ended.connect(hear)
    service_ended.connect(hear)
    yield heard
    sessions_ended.disconnect(hear)
    service_ended.disconnect(hear)


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Any:
    return lambda: django_capture_on_commit_callbacks(execute=True)


def log_in(user: User, now: float = NOW) -> Login:
    return sessions.open_session(user, RequestMeta("198.51.100.1", "Firefox"), now)


def claims_of(login: Login, now: float = NOW) -> Claims:
    return verify(login.tokens.access, audience="hub:user", token_type="access", now=now)


def assert_lapsed(login: Login, reason: str, now: float = NOW) -> None:
    with pytest.raises(TokenInvalid) as caught:
        sessions.resolve(claims_of(login, now), now=now)
    assert caught.value.reason == reason


# Opening and resolving.


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


# Refreshing.


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


# Ending.


def test_logging_out_ends_the_session_and_says_so_after_the_commit(
    ada: User, ended: Any, committed: Any
) -> None:
    login = log_in(ada)
    with committed():
        sessions.revoke(login.tokens.refresh, NOW)
        assert ended == []
    assert ended == [{"user_id": ada.pk, "session_id": login.session_id, "because": "revoked"}]
    assert_lapsed(login, "session_revoked")


def test_logging_out_twice_is_no_fault_and_is_said_once(
    ada: User, ended: Any, committed: Any
) -> None:
    login = log_in(ada)
    with committed():
        sessions.revoke(login.tokens.refresh, NOW)
        sessions.revoke(login.tokens.refresh, NOW)
    assert len(ended) == 1


def test_logging_out_leaves_other_sessions_alone(ada: User) -> None:
    phone, laptop = log_in(ada), log_in(ada)
    sessions.revoke(phone.tokens.refresh, NOW)
    assert sessions.resolve(claims_of(laptop), now=NOW)


def test_staff_can_end_all_sessions(ada: User, ended: Any, committed: Any) -> None:
    logins = [log_in(ada), log_in(ada)]
    with committed():
        sessions.end_sessions(ada, NOW)
    assert ended == [{"user_id": ada.pk, "session_id": None, "because": "ended_by_staff"}]
    for login in logins:
        assert_lapsed(login, "session_revoked")
    assert ada.token_version == 2


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda user: user.set_password("another horse"), "password_changed"),
        (lambda user: setattr(user, "password", make_password("other")), "password_changed"),
        (lambda user: setattr(user, "is_active", False), "deactivated"),
    ],
)
@pytest.mark.parametrize("fields", [None, ["password", "is_active"]])
def test_changes_that_end_all_logins(
    ada: User, ended: Any, committed: Any, change: Any, because: str, fields: Any
) -> None:
    login = log_in(ada)
    change(ada)
    with committed():
        ada.save(update_fields=fields)
    assert ended == [{"user_id": ada.pk, "session_id": None, "because": because}]
    assert User.objects.get().token_version == 2
    assert Session.objects.get().revoked_because == because
    assert_lapsed(login, "session_revoked")


def test_losing_staff_rights_ends_all_logins(ada: User, ended: Any, committed: Any) -> None:
    User.objects.update(is_staff=True)
    user = User.objects.get()
    user.is_staff = False
    with committed():
        user.save()
    assert [each["because"] for each in ended] == ["staff_rights_lost"]


def test_other_changes_end_nothing(ada: User, ended: Any, committed: Any) -> None:
    login = log_in(ada)
    ada.email, ada.is_staff = "ada@example.org", True
    with committed():
        ada.save()
    assert ended == []
    assert sessions.resolve(claims_of(login), now=NOW)


def test_a_stale_object_does_not_bring_an_old_version_back(ada: User) -> None:
    stale = User.objects.get()
    sessions.end_sessions(ada, NOW)
    stale.save()
    assert User.objects.get().token_version == 2


def test_a_hash_renewed_at_login_ends_nothing(ada: User, settings: Any) -> None:
    login = log_in(ada)
    before = User.objects.get().password
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    assert User.objects.get().check_password("correct horse")
    assert User.objects.get().password != before
    assert sessions.resolve(claims_of(login), now=NOW)


def test_deleting_a_person_is_said(ada: User, ended: Any, committed: Any) -> None:
    key = ada.pk
    with committed():
        User.objects.all().delete()
    assert ended == [{"user_id": key, "session_id": None, "because": "deleted"}]


# Services.


def service_claims(account: ServiceAccount) -> Claims:
    token = issue_for_service(account, NOW)
    return verify(token.text, audience="hub:engine", token_type="access", now=NOW)


def test_a_service_resolves_by_one_query_and_signs_with_its_own_secret(
    django_assert_num_queries: Any,
) -> None:
    account = services.add("engine", "engine-1").account
    with django_assert_num_queries(1):
        principal = sessions.resolve(service_claims(account), now=NOW)
    assert (principal.label, principal.role) == ("engine:engine-1", "engine")
    master = django_settings.KEYS.master.signing
    assert sessions.secret_of(principal) == service_secret(
        master.secret, kid=master.kid, kind="engine", name="engine-1", key_version=1
    )


def test_a_disabled_deleted_or_rotated_service_is_refused() -> None:
    claims = service_claims(services.add("engine", "engine-1").account)
    services.disable("engine", "engine-1")
    with pytest.raises(TokenInvalid, match="service_disabled"):
        sessions.resolve(claims, now=NOW)
    services.enable("engine", "engine-1")
    assert sessions.resolve(claims, now=NOW)
    services.rotate("engine", "engine-1", NOW)
    with pytest.raises(TokenInvalid, match="key_version"):
        sessions.resolve(claims, now=NOW)
    ServiceAccount.objects.all().delete()
    with pytest.raises(TokenInvalid, match="service_unknown"):
        sessions.resolve(claims, now=NOW)


def test_a_service_whose_master_was_dropped_is_refused(settings: Any) -> None:
    claims = service_claims(services.add("engine", "engine-1").account)
    fresh = KeyRing((Key("fresh", bytes(range(32))),))
    settings.KEYS = SimpleNamespace(jwt=settings.KEYS.jwt, master=fresh)
    with pytest.raises(TokenInvalid, match="key_dropped"):
        sessions.resolve(claims, now=NOW)


# Who is connected, looked at again.


def test_all_who_are_connected_are_looked_up_by_a_query_for_each_kind(
    ada: User, django_assert_num_queries: Any
) -> None:
    people = {sessions.resolve(claims_of(log_in(ada)), now=NOW) for _ in range(3)}
    account = services.add("engine", "engine-1").account
    engine = sessions.resolve(service_claims(account), now=NOW)
    with django_assert_num_queries(2):
        assert sessions.lapsed(people, now=NOW) == frozenset()
    with django_assert_num_queries(3):
        assert sessions.lapsed({*people, engine}, now=NOW) == frozenset()
    with django_assert_num_queries(0):
        assert sessions.lapsed((), now=NOW) == frozenset()


def test_each_end_of_a_right_shows_in_the_look_at_who_is_connected(ada: User) -> None:
    ada.is_staff = True
    ada.save()
    logins = [log_in(ada), log_in(ada)]
    one, two = (sessions.resolve(claims_of(login), now=NOW) for login in logins)
    sessions.end_session(Session.objects.get(pk=one.session_id), "revoked", NOW)
    assert sessions.lapsed({one, two}, now=NOW) == {one}
    assert sessions.lapsed({two}, now=NOW + 1_209_600) == {two}
    User.objects.update(is_staff=False)
    assert sessions.lapsed({two}, now=NOW) == {two}
    User.objects.update(is_staff=True, is_active=False)
    assert sessions.lapsed({two}, now=NOW) == {two}
    User.objects.update(is_active=True, token_version=99)
    assert sessions.lapsed({two}, now=NOW) == {two}
    User.objects.update(token_version=two.version)
    assert sessions.lapsed({two}, now=NOW) == frozenset()
    Session.objects.filter(pk=two.session_id).delete()
    assert sessions.lapsed({two}, now=NOW) == {two}


def test_somebody_elses_session_is_nobodys_right(ada: User) -> None:
    mine = sessions.resolve(claims_of(log_in(ada)), now=NOW)
    stolen = dataclasses.replace(mine, subject="999")
    assert sessions.lapsed({mine, stolen}, now=NOW) == {stolen}


def test_a_rotated_or_disabled_service_shows_in_the_look_at_who_is_connected() -> None:
    engine = sessions.resolve(service_claims(services.add("engine", "e1").account), now=NOW)
    services.add("agent", "e1")
    services.disable("engine", "e1")
    assert sessions.lapsed({engine}, now=NOW) == {engine}
    services.enable("engine", "e1")
    assert sessions.lapsed({engine}, now=NOW) == frozenset()
    services.rotate("engine", "e1", NOW)
    assert sessions.lapsed({engine}, now=NOW) == {engine}
