"""Refreshing and logging out: each refresh token serves once."""

from typing import Any

import pytest

from security import clock
from security.models import Session, User
from security.violations import Incident
from tests.security.api.api_bench import log_in, post, refusal

pytestmark = pytest.mark.django_db


def test_a_refresh_answers_with_a_new_pair_and_never_the_secret(ada: User) -> None:
    first = log_in().json()
    second = post("token/refresh/", {"refresh": first["refresh"]}).json()
    assert set(second) == {"access", "refresh", "access_expires_at", "server_time"}
    assert second["refresh"] != first["refresh"]
    third = post("token/refresh/", {"refresh": second["refresh"]})
    assert third.status_code == 200


def test_a_spent_refresh_token_is_refused(ada: User, incidents: list[Incident]) -> None:
    first = log_in().json()
    post("token/refresh/", {"refresh": first["refresh"]})
    refusal(post("token/refresh/", {"refresh": first["refresh"]}), 401, "auth_invalid")
    assert incidents[-1].detail["reason"] == "refresh_spent"
    assert incidents[-1].kind == "auth_invalid"


def test_a_refresh_token_that_comes_back_late_is_reported_as_reuse(
    ada: User, incidents: list[Incident], monkeypatch: Any
) -> None:
    first = log_in().json()
    post("token/refresh/", {"refresh": first["refresh"]})
    later = clock.now_ms() + 11_000
    monkeypatch.setattr("security.clock.now_ms", lambda: later)
    answer = post("token/refresh/", {"refresh": first["refresh"]})
    assert refusal(answer, 401, "auth_invalid")["message"]
    assert (incidents[-1].kind, incidents[-1].code) == ("refresh_reuse", "auth_invalid")
    assert incidents[-1].user_id == ada.pk
    assert incidents[-1].login_session == Session.objects.get().pk
    assert Session.objects.get().revoked_because == "refresh_reuse"


def test_an_expired_refresh_token_says_so(ada: User, monkeypatch: Any) -> None:
    refresh = log_in().json()["refresh"]
    later = clock.now_ms() + 86_400_000
    monkeypatch.setattr("security.clock.now_ms", lambda: later)
    refusal(post("token/refresh/", {"refresh": refresh}), 401, "auth_expired")


@pytest.mark.parametrize("path", ["token/refresh/", "token/revoke/"])
@pytest.mark.parametrize("body", [{}, {"refresh": None}, {"refresh": 1}, {"refresh": "", "x": 1}])
def test_a_refresh_body_of_another_form_is_malformed(path: str, body: Any) -> None:
    refusal(post(path, body), 400, "malformed")


@pytest.mark.parametrize("path", ["token/refresh/", "token/revoke/"])
def test_a_token_that_is_none_is_invalid_and_sixty_of_them_are_enough(path: str) -> None:
    for _ in range(60):
        refusal(post(path, {"refresh": "a.b.c"}), 401, "auth_invalid")
    refusal(post(path, {"refresh": "a.b.c"}), 429, "rate_limited")


def test_logging_out_answers_204_and_ends_the_session(ada: User, entries: Any) -> None:
    body = log_in().json()
    response = post("token/revoke/", {"refresh": body["refresh"]})
    assert (response.status_code, response.content) == (204, b"")
    refusal(post("token/refresh/", {"refresh": body["refresh"]}), 401, "auth_invalid")
    assert entries[-1][0] == "token_revoked"
    assert entries[-1][1]["login_session"] == Session.objects.get().pk
