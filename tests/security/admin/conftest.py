"""What the tests of the admin share: staff, a person, and what was put on record."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from security.models import User
from security.throttle import attempts
from security.violations import Incident


@pytest.fixture(autouse=True)
def incidents(monkeypatch: Any) -> list[Incident]:
    reported: list[Incident] = []
    monkeypatch.setattr("security.violations.report", reported.append)
    attempts().clear()
    return reported


@pytest.fixture(autouse=True)
def entries(monkeypatch: Any) -> list[tuple[str, str]]:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "security.audit.append",
        lambda action, **facts: written.append((action, facts["target"])),
    )
    return written


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="correct horse")


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def viewer() -> Client:
    """Staff who may only look."""
    user = User.objects.create_user("viewer", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client
