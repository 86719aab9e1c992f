"""The admin says on every page what the process has to do without, and only to staff."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from hubsite import composition
from security.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


def composed(monkeypatch: pytest.MonkeyPatch, *, reason: str = "", healthy: bool = True) -> None:
    """As if the shared state and the channel layer were so."""
    state = SimpleNamespace(degraded=bool(reason), reason=reason)
    node = SimpleNamespace(bus=SimpleNamespace(healthy=healthy))
    monkeypatch.setattr(composition, "state", lambda: state)
    monkeypatch.setattr(composition, "server", lambda: SimpleNamespace(running=node))


def page(client: Client, address: str = "/admin/") -> str:
    return client.get(address).content.decode()


def test_a_process_that_has_everything_says_nothing(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed(monkeypatch)
    assert "Degraded" not in page(staff)


@pytest.mark.parametrize("address", ["/admin/", "/admin/security/violation/"])
@pytest.mark.parametrize(
    ("without", "said"),
    [
        ({"reason": "ConnectionError: <down>"}, "Redis cannot be asked (ConnectionError: &lt;down"),
        ({"healthy": False}, "The channel layer does not carry"),
    ],
)
def test_what_is_missing_is_said_on_every_page(
    staff: Client, monkeypatch: pytest.MonkeyPatch, address: str, without: Any, said: str
) -> None:
    composed(monkeypatch, **without)
    assert page(staff, address).count(f"Degraded: {said}") == 1


def test_whoever_is_not_staff_is_told_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed(monkeypatch, reason="down")
    assert "Degraded" not in page(client, "/admin/login/")
