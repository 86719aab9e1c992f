"""Accounts of engines and agents."""

from typing import Any

import pytest
from django.conf import settings

from security import services
from security.models import ServiceAccount
from security.services import BadServiceName, ServiceExists, ServiceUnknown
from security.signals import service_ended
from security.signatures import from_base64url, service_secret

NOW = 1_800_000_000.0
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a\n", "é", "a:b", "../a", "a|b"])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(BadServiceName):
        services.add("engine", name)
    assert not ServiceAccount.objects.exists()


@pytest.mark.parametrize("kind", ["", "user", "Engine", "engine "])
def test_a_kind_that_is_none_is_refused(kind: str) -> None:
    with pytest.raises(BadServiceName):
        services.add(kind, "engine-1")


def test_the_secret_is_derived_and_not_stored() -> None:
    new = services.add("engine", "engine-1")
    master = settings.KEYS.master.signing
    assert from_base64url(new.secret) == service_secret(
        master.secret, kid=master.kid, kind="engine", name="engine-1", key_version=1
    )
    assert new.secret not in str(ServiceAccount.objects.values().get())
    assert new.secret not in repr(new)


def test_a_name_is_taken_once_per_kind() -> None:
    first, other = services.add("engine", "one"), services.add("agent", "one")
    assert first.secret != other.secret
    with pytest.raises(ServiceExists):
        services.add("engine", "one")
    assert services.accounts().count() == 2
    assert [each.kind for each in services.accounts("agent")] == ["agent"]


def test_rotation_gives_another_secret_and_ends_the_old_one() -> None:
    old = services.add("engine", "one")
    new = services.rotate("engine", "one", NOW)
    assert new.secret != old.secret
    account = ServiceAccount.objects.get()
    assert account.key_version == 2
    assert account.rotated_at is not None
    assert account.rotated_at.timestamp() == NOW


def test_rotating_and_disabling_are_said_after_the_commit(
    django_capture_on_commit_callbacks: Any,
) -> None:
    heard: list[str] = []

    def hear(kind: str, name: str, because: str, **_facts: Any) -> None:
        heard.append(f"{kind}:{name} {because}")

    service_ended.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        services.add("engine", "one")
        services.rotate("engine", "one", NOW)
        services.disable("engine", "one")
        services.enable("engine", "one")
        assert heard == []
    service_ended.disconnect(hear)
    assert heard == ["engine:one rotated", "engine:one disabled"]


def test_what_is_not_there_cannot_be_changed() -> None:
    for change in (services.enable, services.disable):
        with pytest.raises(ServiceUnknown):
            change("engine", "one")
    with pytest.raises(ServiceUnknown):
        services.rotate("engine", "one", NOW)


def test_without_its_master_an_account_has_no_secret() -> None:
    account = services.add("engine", "one").account
    account.kid = "dropped"
    assert services.secret_of_account(account) is None
