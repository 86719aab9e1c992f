"""Logging in: the same answer for all who may not, and a limit on trying."""

from typing import Any

import pytest

from security.models import Session, User
from security.signatures import from_base64url
from security.violations import Incident
from tests.security.api.api_bench import PASSWORD, log_in, post, refusal

pytestmark = pytest.mark.django_db


def test_a_login_answers_with_tokens_the_secret_and_the_time(ada: User, entries: Any) -> None:
    response = log_in()
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"access", "refresh", "session_secret", "access_expires_at", "server_time"}
    assert len(from_base64url(body["session_secret"])) == 32
    assert 0 < body["access_expires_at"] - body["server_time"] <= 300_000
    assert response["Cache-Control"] == "no-store"
    session = Session.objects.get()
    assert entries == [
        (
            "token_issued",
            {
                "principal": f"user:{ada.pk}",
                "user_id": ada.pk,
                "login_session": session.pk,
                "ip": "127.0.0.1",
            },
        )
    ]


def test_a_wrong_password_an_unknown_name_and_an_inactive_person_get_the_same_answer(
    ada: User, incidents: list[Incident]
) -> None:
    User.objects.create_user("grace", password=PASSWORD, is_active=False)
    answers = [log_in("wrong"), log_in(username="nobody"), log_in(username="grace")]
    assert len({answer.content for answer in answers}) == 1
    refusal(answers[0], 401, "invalid_credentials")
    assert set(answers[0].json()) == {"code", "message"}
    assert "Bearer" in answers[0]["WWW-Authenticate"]
    assert [each.detail["reason"] for each in incidents] == [
        "wrong_password",
        "unknown_name",
        "inactive",
    ]
    assert [each.user_id is None for each in incidents] == [False, True, False]
    assert not Session.objects.exists()


def test_an_unknown_name_costs_a_password_hash(monkeypatch: Any) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(User, "set_password", lambda _user, raw: hashed.append(raw))
    log_in("something", "nobody")
    assert hashed == ["something"]


def test_a_name_that_is_nobodys_is_not_recorded(incidents: list[Incident]) -> None:
    log_in("x", "my-password-typed-into-the-wrong-field")
    assert "my-password" not in str(incidents)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"ada"',
        b'{"username":"ada"}',
        b'{"username":"ada","password":"x","role":"staff"}',
        b'{"username":"ada","password":1}',
        b'{"username":["ada"],"password":"x"}',
        b'{"username":null,"password":"x"}',
        b'{"username":"ada","username":"ada","password":"x"}',
        b'\xef\xbb\xbf{"username":"ada","password":"x"}',
        b'{"username":"a\\u0000","password":"x"}',
        b'{"username":"\\ud800","password":"x"}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_body_of_another_form_is_malformed(
    ada: User, incidents: list[Incident], body: bytes
) -> None:
    refusal(post("token/", body), 400, "malformed")
    assert [each.kind for each in incidents] == ["malformed"]


def test_a_body_over_the_limit_is_too_large() -> None:
    refusal(post("token/", b'"' + b"a" * 64 * 1024 + b'"'), 413, "payload_too_large")


def test_a_name_or_password_of_absurd_length_is_wrong_and_not_hashed(
    ada: User, monkeypatch: Any
) -> None:
    monkeypatch.setattr("security.logins.authenticate", lambda *_args, **_named: 1 / 0)
    refusal(log_in("p" * 1025), 401, "invalid_credentials")
    refusal(log_in(username="a" * 151), 401, "invalid_credentials")


def test_the_eleventh_failure_in_a_minute_is_limited_and_says_how_long(
    ada: User, incidents: list[Incident]
) -> None:
    for _ in range(10):
        refusal(log_in("wrong"), 401, "invalid_credentials")
    response = log_in()
    body = refusal(response, 429, "rate_limited")
    assert 0 < body["retry_after_ms"] <= 60_000
    assert 0 < int(response["Retry-After"]) <= 60
    assert incidents[-1].kind == "rate_limited"
    assert log_in(REMOTE_ADDR="198.51.100.7").status_code == 200


def test_successes_do_not_use_up_the_limit(ada: User) -> None:
    assert {log_in().status_code for _ in range(12)} == {200}


def test_a_forged_forwarded_address_does_not_help(ada: User) -> None:
    for number in range(10):
        log_in("wrong", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
    refusal(log_in(HTTP_X_FORWARDED_FOR="198.51.100.99"), 429, "rate_limited")
