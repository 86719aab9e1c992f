"""Settings that would harm are refused, each under its own id."""

import dataclasses
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, run_checks
from django.db import DatabaseError

from security import checks, services
from security.keys import Key, KeyRing, Keys
from security.models import ServiceAccount
from security.signatures import to_base64url

FIRST, SECOND, THIRD = (bytes(range(start, start + 32)) for start in (0, 1, 2))
DJANGO = "abcdefghijklmnopqrstuvwxyz0123456789"


def ids(messages: list[CheckMessage]) -> list[str | None]:
    for message in messages:
        assert message.id is not None
        assert message.hint == f"See docs/checks.md#{message.id.lower().replace('.', '')}"
    return [message.id for message in messages]


def keys(django: str = DJANGO, master: bytes = FIRST, jwt: bytes = SECOND) -> Keys:
    return Keys(django, KeyRing((Key("m", master),)), KeyRing((Key("j", jwt),)))


def test_the_hubs_own_settings_pass() -> None:
    assert checks.check_settings() == []
    assert checks.check_limits() == []


def test_the_checks_are_registered() -> None:
    assert checks.check_settings in run_checks.__self__.registered_checks  # type: ignore[attr-defined]  # bound method of Django's registry
    assert checks.check_deployment in run_checks.__self__.deployment_checks  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (None, ["hub.E001"]),
        (keys("template" * 8), ["hub.E001"]),
        (keys("short"), ["hub.E002", "hub.E001"]),
        (keys(master=b"short"), ["hub.E002", "hub.E001"]),
        (keys(jwt=bytes(32)), ["hub.E002", "hub.E001"]),
        (keys(jwt=b"change-me-change-me-change-me-32"), ["hub.E002", "hub.E001"]),
        (keys(jwt=FIRST), ["hub.E003", "hub.E001"]),
        (keys(to_base64url(FIRST)), ["hub.E003", "hub.E001"]),
    ],
)
def test_keys_that_are_missing_weak_or_used_twice(
    bad: Keys | None, found: list[str], settings: Any
) -> None:
    settings.KEYS = bad
    assert ids(checks.check_settings()) == found


def test_good_keys_of_another_make_pass(settings: Any) -> None:
    settings.KEYS, settings.SECRET_KEY = keys(), DJANGO
    assert checks.check_settings() == []


def test_tokens_without_an_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Anybodys:
        issuer = None

    monkeypatch.setattr(checks, "RingBackend", Anybodys)
    assert ids(checks.check_settings()) == ["hub.E004"]


def test_debug_pages_for_the_public(settings: Any) -> None:
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    assert checks.check_settings() == []
    settings.ALLOWED_HOSTS = ["localhost", "hub.example"]
    assert ids(checks.check_settings()) == ["hub.E005"]


@pytest.mark.parametrize(("processes", "found"), [("1", []), ("", []), ("2", ["hub.E006"])])
def test_several_processes_with_state_in_memory(
    processes: str, found: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    monkeypatch.setenv("WEB_CONCURRENCY", processes)
    assert ids(checks.check_settings()) == found
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.Any"}}
    assert checks.check_settings() == []


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("allowed_origins", ("https://a.example", "http://[::1]:8000"), []),
        ("allowed_origins", ("*",), ["hub.E007"]),
        ("allowed_origins", ("https://a.example/",), ["hub.E007"]),
        ("allowed_origins", ("https://A.example",), ["hub.E007"]),
        ("allowed_origins", ("null",), ["hub.E007"]),
        ("trusted_proxies", ("10.0.0.0/8",), []),
        ("trusted_proxies", ("proxy.example",), ["hub.E008"]),
        ("trusted_proxies", ("0.0.0.0/0",), ["hub.E009"]),
        ("trusted_proxies", ("10.0.0.1", "::/0"), ["hub.E009"]),
    ],
)
def test_origins_and_proxies(field: str, value: object, found: list[str], settings: Any) -> None:
    settings.HUB = dataclasses.replace(settings.HUB, **{field: value})
    assert ids(checks.check_settings()) == found


@pytest.mark.parametrize("names", checks.ORDERED)
def test_limits_that_contradict_each_other(names: tuple[str, ...], settings: Any) -> None:
    first, second = names[:2]
    too_much = getattr(settings.HUB, second) + 1
    settings.HUB = dataclasses.replace(settings.HUB, **{first: too_much})
    messages = checks.check_limits()
    assert "hub.W010" in ids(messages)
    assert any(f"HUB_{first.upper()}" in message.msg for message in messages)


@pytest.mark.parametrize("name", checks.POSITIVE)
def test_limits_at_which_nothing_works(name: str, settings: Any) -> None:
    settings.HUB = dataclasses.replace(settings.HUB, **{name: 0})
    assert "hub.E011" in ids(checks.check_limits())


@pytest.mark.parametrize("absent", checks.SQLITE_OPTIONS)
def test_sqlite_without_an_option_that_lets_several_write(
    absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hubsite.settings import SQLITE  # noqa: PLC0415 - needs Django's settings

    options = {name: value for name, value in SQLITE["OPTIONS"].items() if name != absent}
    monkeypatch.setitem(django_settings.DATABASES, "default", {**SQLITE, "OPTIONS": options})
    messages = checks.check_settings()
    assert ids(messages) == ["hub.W012"]
    assert absent in messages[0].msg


@pytest.mark.django_db
def test_services_of_a_dropped_master_key_are_named() -> None:
    services.add("engine", "kept")
    services.add("engine", "lost")
    services.add("engine", "off")
    ServiceAccount.objects.filter(name__in=["lost", "off"]).update(kid="gone")
    services.disable("engine", "off")
    messages = checks.check_service_keys(databases=["default"])
    assert ids(messages) == ["hub.W013"]
    assert "engine:lost." in messages[0].msg
    assert checks.check_service_keys(databases=None) == []


def test_a_database_without_tables_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(**_filter: object) -> None:
        raise DatabaseError("no such table")

    monkeypatch.setattr(ServiceAccount.objects, "filter", gone, raising=False)
    assert checks.check_service_keys(databases=["default"]) == []


def test_what_only_a_deployment_is_told(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("HUB_MASTER_KEYS", "k:x")
    assert checks.check_deployment() == []
    monkeypatch.delenv("HUB_MASTER_KEYS")
    origins = ("http://a.example", "https://b.example")
    settings.HUB = dataclasses.replace(settings.HUB, allowed_origins=origins)
    assert ids(checks.check_deployment()) == ["hub.W014", "hub.W016", "hub.W015"]
    settings.HUB = dataclasses.replace(settings.HUB, trusted_proxies=("10.0.0.1",))
    assert ids(checks.check_deployment()) == ["hub.W014", "hub.W015"]
