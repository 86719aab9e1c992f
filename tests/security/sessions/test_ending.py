"""What ends a login session, and who hears of it."""

from typing import Any

import pytest
from django.contrib.auth.hashers import make_password

from security import sessions
from security.models import Session, User
from tests.security.sessions.sessions_bench import NOW, assert_lapsed, claims_of, log_in

pytestmark = pytest.mark.django_db


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
