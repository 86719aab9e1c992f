"""The identity API through its real addresses: answers, refusals, records."""

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.db import OperationalError
from django.test import Client

from security import clock, door, logins, services
from security.models import AuditEntry, Session, User, Violation
from security.recorder import recorder
from security.signatures import MessageKey, from_base64url
from security.throttle import attempts
from security.tokens import verify
from security.violations import Incident

PASSWORD = "correct horse battery"
CLIENT = Client()  # one, because each loads the middleware anew
pytestmark = pytest.mark.django_db


class Nonces:
    """A store that remembers for ever; what is stored where is the upper floor's business."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, str]] = set()
        self.expiry: list[int] = []

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> bool:
        self.expiry.append(expires_at_ms)
        new = (scope, principal, nonce) not in self.seen
        self.seen.add((scope, principal, nonce))
        return new


@pytest.fixture(autouse=True)
def nonces() -> Iterator[Nonces]:
    attempts().clear()
    store = Nonces()
    door.use_nonces(store)
    yield store
    door.use_nonces(None)
    attempts().clear()


@pytest.fixture(autouse=True)
def incidents(monkeypatch: Any) -> list[Incident]:
    reported: list[Incident] = []
    monkeypatch.setattr("security.violations.report", reported.append)
    return reported


@pytest.fixture(autouse=True)
def entries(monkeypatch: Any) -> list[tuple[str, dict[str, Any]]]:
    written: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "security.audit.append", lambda action, **facts: written.append((action, facts))
    )
    return written


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password=PASSWORD)


def post(path: str, body: Any, **more: Any) -> Any:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    more.setdefault("content_type", "application/json")
    return CLIENT.post(f"/api/{path}", content, **more)


def log_in(password: str = PASSWORD, username: str = "ada", **more: Any) -> Any:
    return post("token/", {"username": username, "password": password}, **more)


def refusal(response: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert body["message"]
    return body


# Login.


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


# Refresh and logout.


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


# Service tokens.


def request_of(secret: str, *, signed_as: str = "token_request", **changes: Any) -> Any:
    body = {
        "kind": "engine",
        "name": "engine-1",
        "ts": clock.now_ms(),
        "nonce": secrets.token_urlsafe(24),
        **changes,
    }
    key = MessageKey(
        from_base64url(secret),
        direction="c2s",
        namespace="/api/service-token/",
        principal=f"{body['kind']}:{body['name']}",
        sid="",
    )
    sig = key.sign(type=signed_as, ts=body["ts"], nonce=body["nonce"], payload="")
    return {**body, "sig": sig}


@pytest.fixture
def secret() -> str:
    return services.add("engine", "engine-1").secret


def test_a_signed_request_buys_a_service_token(secret: str, entries: Any, nonces: Nonces) -> None:
    body = request_of(secret)
    answer = post("service-token/", body).json()
    assert set(answer) == {"access", "access_expires_at", "server_time"}
    claims = verify(
        answer["access"],
        audience="hub:engine",
        token_type="access",
        now=answer["server_time"] / 1000,
    )
    assert claims.subject == "engine-1"
    assert 0 < answer["access_expires_at"] - answer["server_time"] <= 3_600_000
    assert entries[-1] == ("token_issued", {"principal": "engine:engine-1", "ip": "127.0.0.1"})
    assert nonces.expiry == [body["ts"] + 30_000 + 5_000]
    assert services.accounts().get().last_token_at is not None


def test_the_same_request_buys_one_token(secret: str, incidents: list[Incident]) -> None:
    body = request_of(secret)
    assert post("service-token/", body).status_code == 200
    refusal(post("service-token/", body), 401, "replay_detected")
    assert incidents[-1].kind == "replay_detected"


@pytest.mark.parametrize("offset", [-30_000, 30_000])
def test_the_edges_of_the_window_are_inside(secret: str, monkeypatch: Any, offset: int) -> None:
    now = clock.now_ms()
    monkeypatch.setattr("security.clock.now_ms", lambda: now)
    assert post("service-token/", request_of(secret, ts=now + offset)).status_code == 200


@pytest.mark.parametrize("offset", [-30_001, 30_001])
def test_beyond_the_window_the_answer_tells_the_time(
    secret: str, monkeypatch: Any, nonces: Nonces, offset: int
) -> None:
    now = clock.now_ms()
    monkeypatch.setattr("security.clock.now_ms", lambda: now)
    answer = post("service-token/", request_of(secret, ts=now + offset))
    assert refusal(answer, 401, "timestamp_expired")["server_time"] == now
    assert nonces.seen == set()


def test_an_unknown_service_and_a_wrong_secret_get_the_same_answer(
    secret: str, nonces: Nonces
) -> None:
    wrong = post("service-token/", request_of("A" * 43))
    unknown = post("service-token/", request_of(secret, name="engine-2"))
    refusal(wrong, 401, "invalid_signature")
    assert wrong.content == unknown.content
    assert nonces.seen == set()


def test_the_signature_of_another_message_type_is_wrong(secret: str) -> None:
    body = request_of(secret, signed_as="artifact")
    refusal(post("service-token/", body), 401, "invalid_signature")


@pytest.mark.parametrize(
    "change", [{"ts": 1}, {"nonce": "n" * 32}, {"kind": "agent"}, {"name": "engine-2"}]
)
def test_a_request_changed_after_signing_is_refused(secret: str, change: Any) -> None:
    answer = post("service-token/", {**request_of(secret), **change})
    assert answer.status_code == 401
    assert answer.json()["code"] in ("invalid_signature", "timestamp_expired")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "user"},
        {"kind": "Engine"},
        {"ts": "1"},
        {"ts": 1.0},
        {"ts": True},
        {"ts": -1},
        {"nonce": "short"},
        {"nonce": "n" * 65},
        {"nonce": "n" * 21 + "|"},
        {"sig": "A" * 64},
        {"sig": "a" * 63},
        {"payload": ""},
    ],
)
def test_a_request_of_another_form_is_malformed(secret: str, nonces: Nonces, change: Any) -> None:
    refusal(post("service-token/", {**request_of(secret), **change}), 400, "malformed")
    assert nonces.seen == set()


def test_a_disabled_service_is_told_so_only_with_its_secret(secret: str) -> None:
    services.disable("engine", "engine-1")
    refusal(post("service-token/", request_of(secret)), 403, "forbidden")
    refusal(post("service-token/", request_of("A" * 43)), 401, "invalid_signature")


def test_ten_wrong_signatures_close_the_door_to_that_name_for_a_minute(secret: str) -> None:
    for _ in range(10):
        refusal(post("service-token/", request_of("A" * 43)), 401, "invalid_signature")
    refusal(post("service-token/", request_of(secret)), 429, "rate_limited")


def test_a_full_nonce_store_refuses_and_says_try_again(secret: str, monkeypatch: Any) -> None:
    def full(*_args: Any, **_named: Any) -> bool:
        raise OverflowError

    monkeypatch.setattr(Nonces, "consume", full)
    refusal(post("service-token/", request_of(secret)), 503, "try_again")


def test_a_store_that_answers_later_is_waited_for(secret: str, monkeypatch: Any) -> None:
    async def later(*_args: Any, **_named: Any) -> bool:
        return False

    monkeypatch.setattr(Nonces, "consume", later)
    refusal(post("service-token/", request_of(secret)), 401, "replay_detected")


def test_without_a_nonce_store_nobody_gets_a_token(secret: str) -> None:
    door.use_nonces(None)
    refusal(post("service-token/", request_of(secret)), 500, "internal_error")


# The form of all of them.


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
