"""Every answer of the identity API has the same form, and none says too much."""

import json
import re
from typing import Any

import pytest
from django.db import OperationalError

from security import clock, logins
from security.models import AuditEntry, User, Violation
from security.recorder import recorder
from security.violations import Incident
from tests.security.api.api_bench import CLIENT, PASSWORD, log_in, post, refusal, request_of

pytestmark = pytest.mark.django_db


def test_the_time_needs_no_token() -> None:
    before = clock.now_ms()
    body = CLIENT.get("/api/time/").json()
    assert set(body) == {"server_time"}
    assert before <= body["server_time"] <= clock.now_ms()


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (lambda: CLIENT.get("/api/token/"), 405, "method_not_allowed"),
        (lambda: post("time/", {}), 405, "method_not_allowed"),
        (lambda: post("token/", b"a=b", content_type="text/plain"), 415, "unsupported_media_type"),
        (
            lambda: post("token/", b"a=b", content_type="application/x-www-form-urlencoded"),
            415,
            "unsupported_media_type",
        ),
        (lambda: CLIENT.get("/api/time/", HTTP_ACCEPT="text/html"), 406, "not_acceptable"),
    ],
)
def test_every_refusal_has_a_code_and_a_message(
    incidents: list[Incident], call: Any, status: int, code: str
) -> None:
    body = refusal(call(), status, code)
    assert set(body) == {"code", "message"}
    assert (incidents[-1].kind, incidents[-1].detail["reason"]) == ("malformed", code)


def test_a_fault_of_ours_is_answered_and_reported(
    ada: User, incidents: list[Incident], monkeypatch: Any, caplog: Any
) -> None:
    def broken(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("security.api.open_session", broken)
    assert set(refusal(log_in(), 500, "internal_error")) == {"code", "message"}
    assert (incidents[-1].kind, incidents[-1].detail["reason"]) == (
        "internal_error",
        "ZeroDivisionError",
    )
    assert "a view failed" in caplog.text


def test_no_refusal_repeats_a_secret(ada: User, incidents: list[Incident], secret: str) -> None:
    body = log_in().json()
    token = body["refresh"]
    post("token/refresh/", {"refresh": token})
    post("token/refresh/", {"refresh": token})
    log_in("wrong-password")
    post("service-token/", request_of("A" * 43))
    said = json.dumps([dict(each.detail) for each in incidents]) + str(incidents)
    for kept in (token, body["session_secret"], "wrong-password", PASSWORD, secret):
        assert kept not in said
    assert not re.search(r"[0-9a-f]{64}", said)


@pytest.mark.django_db(transaction=True)
def test_a_refusal_and_a_login_are_rows_that_staff_can_read(monkeypatch: Any) -> None:
    monkeypatch.undo()  # the real recorder, which writes in a thread of its own
    ada = User.objects.create_user("ada", password=PASSWORD)
    log_in("wrong")
    violation = Violation.objects.get()
    assert (violation.kind, violation.user_id, violation.ip) == (
        "invalid_credentials",
        ada.pk,
        "127.0.0.1",
    )
    assert (violation.principal, violation.namespace) == ("ip:127.0.0.1", "/api/token/")
    log_in()
    assert recorder().flush(20.0)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.principal) == ("token_issued", f"user:{ada.pk}")


def test_a_database_that_is_away_is_an_answer_that_says_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_args: object, **_options: object) -> None:
        raise OperationalError

    monkeypatch.setattr(logins, "authenticate", away)
    refusal(post("token/", {"username": "ada", "password": PASSWORD}), 503, "try_again")
