"""Staff log in to the admin as limited as everybody logs in to the API."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from security.models import User
from security.violations import Incident

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
