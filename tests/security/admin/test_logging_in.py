"""Staff log in to the admin as limited as everybody logs in to the API."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from security.blocks import block
from security.models import User
from security.sessions import end_sessions
from security.violations import Incident

NOW = 1_760_000_000.0
pytestmark = pytest.mark.django_db


def log_in(name: str, password: str) -> Any:
    return Client().post(reverse("admin:login"), {"username": name, "password": password})


def test_staff_log_in_and_others_do_not(
    ada: User, incidents: list[Incident], entries: list[Any]
) -> None:
    assert log_in("ada", "correct horse").status_code == 200
    User.objects.update(is_staff=True)
    assert log_in("ada", "correct horse").status_code == 302
    assert log_in("ada", "wrong").status_code == 200
    assert [each.kind for each in incidents] == ["invalid_credentials"]
    assert entries == [("staff_logged_in", "")]


def test_the_admins_door_is_limited_like_the_apis(ada: User, incidents: list[Incident]) -> None:
    User.objects.update(is_staff=True)
    for _ in range(10):
        log_in("ada", "wrong")
    response = log_in("ada", "correct horse")
    assert response.status_code == 200
    assert "Too many failed attempts" in response.content.decode()
    assert incidents[-1].kind == "rate_limited"


def test_the_site_bears_the_hubs_name(root: Client) -> None:
    page = root.get(reverse("admin:index")).content.decode()
    assert "Interaction Hub" in page
    assert "Engines and agents" in page


@pytest.fixture
def eve() -> User:
    return User.objects.create_user("eve", password="correct horse", is_staff=True)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    assert client.get(reverse("admin:index")).status_code == 200
    return client


def test_ending_all_logins_ends_the_admins_cookies_too(eve: User) -> None:
    client = signed_in(eve)
    end_sessions(eve, NOW)
    assert client.get(reverse("admin:index")).status_code == 302


def test_a_changed_password_ends_all_cookies_but_the_one_that_changed_it(eve: User) -> None:
    here, elsewhere = signed_in(eve), signed_in(eve)
    new = {"old_password": "correct horse"} | dict.fromkeys(
        ("new_password1", "new_password2"), "another horse"
    )
    assert here.post(reverse("admin:password_change"), new).status_code == 302
    assert here.get(reverse("admin:index")).status_code == 200
    assert elsewhere.get(reverse("admin:index")).status_code == 302


def test_who_is_blocked_is_out_of_the_admin_and_does_not_come_in(
    eve: User, incidents: list[Incident]
) -> None:
    client = signed_in(eve)
    eve.user_permissions.add(Permission.objects.get(codename="block_principal"))
    made = block(f"user:{eve.pk}", until=timezone.now() + timedelta(hours=1), by="root")
    assert client.get(reverse("admin:index")).status_code == 302
    lift = {"action": "lift_chosen", "_selected_action": [made.pk], "confirmed": "yes"}
    assert client.post(reverse("admin:security_block_changelist"), lift).status_code == 302
    made.refresh_from_db()
    assert made.until > timezone.now()
    page = log_in("eve", "correct horse")
    assert (page.status_code, "You are blocked" in page.content.decode()) == (200, True)
    assert [(each.kind, each.detail["reason"]) for each in incidents] == [("penalty", "blocked")]
