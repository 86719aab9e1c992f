"""Health, readiness and metrics."""

import threading
from typing import Any

import pytest
from django.test import Client

from hubsite import health

pytestmark = pytest.mark.django_db

PARTS = [*health.REMOTE, *health.LOCAL]
WITHIN_S = 30.0


def test_the_process_answers() -> None:
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})


def test_a_hub_with_everything_in_place_is_ready() -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "checks": dict.fromkeys(PARTS, True)}


@pytest.mark.parametrize("part", PARTS)
def test_one_failing_part_is_named_and_makes_it_unready(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> bool:
        raise OSError("gone")

    monkeypatch.setitem(health.LOCAL if part in health.LOCAL else health.REMOTE, part, fails)
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert [name for name, works in answer.json()["checks"].items() if not works] == [part]


def test_a_database_that_hangs_makes_it_unready_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(health, "ANSWERS_WITHIN_S", 0.01)
    monkeypatch.setitem(health.REMOTE, "database", lambda: hangs.wait(WITHIN_S))
    try:
        answer = Client().get("/readyz")
    finally:
        hangs.set()
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, False)


def test_metrics_are_for_loopback() -> None:
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    assert b"hub_violations" in answer.content


@pytest.mark.parametrize(
    ("header", "status"), [({}, 403), ({"Authorization": "Bearer wrong"}, 403)]
)
def test_metrics_refuse_a_stranger(header: dict[str, str], status: int) -> None:
    answer = Client(REMOTE_ADDR="203.0.113.9", headers=header).get("/metrics")
    assert answer.status_code == status
    assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_metrics_refuse_whoever_comes_through_a_proxy_of_this_machine(header: str) -> None:
    assert Client(headers={header: "203.0.113.9"}).get("/metrics").status_code == 403


def test_metrics_accept_the_bearer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings:
        metrics_token = "scrape-me"
        trusted_proxies: tuple[str, ...] = ()

    settings: Any = Settings()
    monkeypatch.setattr(health, "hub", lambda: settings)
    stranger = Client(REMOTE_ADDR="203.0.113.9", headers={"Authorization": "Bearer scrape-me"})
    assert stranger.get("/metrics").status_code == 200
