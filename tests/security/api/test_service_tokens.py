"""A signed request buys a service one token."""

from typing import Any

import pytest

from security import clock, door, services
from security.tokens import verify
from security.violations import Incident
from tests.security.api.api_bench import Nonces, post, refusal, request_of

pytestmark = pytest.mark.django_db


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
