"""Staff end sessions and switch services once they have confirmed it, and it is audited."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from security import services
from security.models import ServiceAccount, Session, User
from security.sessions import RequestMeta, open_session
from tests.security.admin.admin_bench import NOW, act, record

pytestmark = pytest.mark.django_db


def test_staff_end_a_session(root: Client, ada: User, entries: list[Any]) -> None:
    open_session(ada, RequestMeta(), NOW)
    session = Session.objects.get()
    act(root, "session", "end_chosen", session)
    assert Session.objects.get().revoked_because == "ended_by_staff"
    act(root, "session", "end_chosen", session)
    assert entries == [("staff_session_ended", f"session:{session.pk}")]


def test_staff_end_all_logins_of_a_person(root: Client, ada: User, entries: list[Any]) -> None:
    open_session(ada, RequestMeta(), NOW)
    act(root, "user", "end_all_logins", ada)
    assert User.objects.get(pk=ada.pk).token_version == 2
    assert Session.objects.get().revoked_at is not None
    assert entries == [("staff_logins_ended", f"user:{ada.pk}")]


def test_staff_switch_a_service(root: Client, entries: list[Any]) -> None:
    account = services.add("engine", "one").account
    act(root, "serviceaccount", "disable_chosen", account)
    assert not ServiceAccount.objects.get().enabled
    act(root, "serviceaccount", "enable_chosen", account)
    assert ServiceAccount.objects.get().enabled
    assert [action for action, _ in entries] == ["staff_service_disabled", "staff_service_enabled"]


def test_who_may_only_look_can_end_and_switch_nothing(
    viewer: Client, ada: User, entries: list[Any]
) -> None:
    open_session(ada, RequestMeta(), NOW)
    account = services.add("engine", "one").account
    act(viewer, "session", "end_chosen", Session.objects.get())
    act(viewer, "user", "end_all_logins", ada)
    act(viewer, "serviceaccount", "disable_chosen", account)
    assert Session.objects.get().revoked_at is None
    assert ServiceAccount.objects.get().enabled
    assert entries == []


def test_a_session_page_shows_no_digest(root: Client, ada: User) -> None:
    open_session(ada, RequestMeta(), NOW)
    session = Session.objects.get()
    page = root.get(reverse("admin:security_session_change", args=[session.pk])).content.decode()
    assert session.refresh_digest not in page
    assert root.post(
        reverse("admin:security_session_change", args=[session.pk]), {"kid": "x"}
    ).status_code == 403  # fmt: skip


@pytest.mark.parametrize(
    ("model", "action"),
    [("session", "end_chosen"), ("user", "end_all_logins"), ("violation", "end_their_sessions")],
)
def test_nothing_is_done_before_it_is_confirmed(
    model: str, action: str, root: Client, ada: User, entries: list[Any]
) -> None:
    login = open_session(ada, RequestMeta(), NOW)
    rows: dict[str, Any] = {
        "session": Session.objects.get(),
        "user": ada,
        "violation": record(ada.pk, login_session=login.session_id),
    }
    page = act(root, model, action, rows[model], confirmed="").content.decode()
    assert "Yes, do it" in page
    assert "ada" in page
    assert Session.objects.get().revoked_at is None
    assert entries == []


def test_services_are_switched_only_when_confirmed(root: Client, entries: list[Any]) -> None:
    account = services.add("engine", "one").account
    assert "engine:one" in act(
        root, "serviceaccount", "disable_chosen", account, confirmed=""
    ).content.decode()  # fmt: skip
    assert ServiceAccount.objects.get().enabled
    act(root, "serviceaccount", "disable_chosen", account)
    act(root, "serviceaccount", "enable_chosen", account, confirmed="")
    assert not ServiceAccount.objects.get().enabled


def test_a_password_changed_in_the_admin_ends_all_logins(
    root: Client, ada: User, entries: list[Any]
) -> None:
    open_session(ada, RequestMeta(), NOW)
    address = reverse("admin:auth_user_password_change", args=[ada.pk])
    new = {"password1": "another horse", "password2": "another horse", "usable_password": "true"}
    assert root.post(address, new).status_code == 302
    assert Session.objects.get().revoked_because == "password_changed"
    assert entries == [("staff_changed", f"user:{ada.pk}")]


def test_the_token_version_cannot_be_written(root: Client, ada: User) -> None:
    address = reverse("admin:security_user_change", args=[ada.pk])
    form = root.get(address).context["adminform"].form
    assert "token_version" not in form.fields
    assert "token_version" in root.get(address).content.decode()
