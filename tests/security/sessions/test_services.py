"""A service's token stands for it until its account is disabled, rotated or gone."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings

from security import services, sessions
from security.keys import Key, KeyRing
from security.models import ServiceAccount
from security.signatures import service_secret
from security.tokens import TokenInvalid
from tests.security.sessions.sessions_bench import NOW, service_claims

pytestmark = pytest.mark.django_db


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
