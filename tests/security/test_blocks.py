"""Who is blocked is out at once and until the time is over, and loses nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from security import clock, services, sessions
from security.blocks import NotBlockable, block, is_blockable
from security.models import Block, User
from security.sessions import PrincipalBlocked, RequestMeta, open_session
from security.signals import service_ended, sessions_ended
from security.tokens import Claims, issue_for_service, verify

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
AT = datetime.fromtimestamp(NOW, UTC)
HOUR = timedelta(hours=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="correct horse")


def claims_of(user: User) -> Claims:
    login = open_session(user, RequestMeta(), NOW)
    return verify(login.tokens.access, audience="hub:user", token_type="access", now=NOW)


def test_a_blocked_person_is_refused_until_the_time_is_over(ada: User) -> None:
    claims = claims_of(ada)
    block(f"user:{ada.pk}", until=AT + HOUR, by="root")
    block(f"user:{ada.pk}", until=AT + HOUR / 2, by="root")
    for look_up in (sessions.resolve, sessions.resolve_person):
        with pytest.raises(PrincipalBlocked) as caught:
            look_up(claims, now=NOW)
        assert caught.value.wait_ms == 3_600_000
    Block.objects.lift(AT)
    assert sessions.resolve(claims, now=NOW).label == f"user:{ada.pk}"


def test_a_block_ends_by_itself_and_concerns_nobody_else(ada: User) -> None:
    claims = claims_of(ada)
    block(f"user:{ada.pk}", until=AT + HOUR, by="root")
    other = claims_of(User.objects.create_user("grace", password="x"))
    assert sessions.resolve(other, now=NOW)
    block(f"user:{other.subject}", until=AT, by="root")
    assert sessions.resolve(other, now=NOW)
    Block.objects.filter(principal=f"user:{ada.pk}").update(until=AT)
    assert sessions.resolve(claims, now=NOW)


def test_a_blocked_service_is_refused() -> None:
    account = services.add("engine", "one").account
    token = issue_for_service(account, NOW)
    claims = verify(token.text, audience="hub:engine", token_type="access", now=NOW)
    principal = sessions.resolve(claims, now=NOW)
    block("engine:one", until=AT + HOUR, by="root")
    with pytest.raises(PrincipalBlocked):
        sessions.resolve(claims, now=NOW)
    assert sessions.lapsed({principal}, now=NOW) == {principal}


def test_the_regular_look_at_who_is_connected_finds_a_block_of_another_process(ada: User) -> None:
    principal = sessions.resolve(claims_of(ada), now=NOW)
    Block.objects.create(principal=f"user:{ada.pk}", until=AT + HOUR, by="root")
    assert sessions.lapsed({principal}, now=NOW) == {principal}
    assert sessions.lapsed({principal}, now=NOW + 3_600) == frozenset()


def test_the_api_answers_429_and_says_how_long(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("security.violations.report", lambda _incident: None)
    now = clock.now_ms() / 1000
    login = open_session(ada, RequestMeta(), now)
    block(f"user:{ada.pk}", until=clock.moment(clock.now_ms()) + HOUR, by="root")
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {login.tokens.access}")
    response = client.get("/api/builds/")
    assert response.status_code == 429
    assert response.json()["code"] == "PENALTY"
    assert 3_500 <= int(response["Retry-After"]) <= 3_600


@pytest.mark.django_db(transaction=True)
def test_open_sockets_are_told() -> None:
    told: list[dict[str, Any]] = []

    def hear(**facts: Any) -> None:
        told.append({key: facts[key] for key in facts if key not in {"signal", "sender"}})

    for signal in (sessions_ended, service_ended):
        signal.connect(hear)
    try:
        block("user:7", until=AT, by="root")
        block("agent:guide", until=AT, by="root")
    finally:
        for signal in (sessions_ended, service_ended):
            signal.disconnect(hear)
    assert told == [
        {"user_id": 7, "session_id": None, "because": "blocked"},
        {"kind": "agent", "name": "guide", "because": "blocked"},
    ]


@pytest.mark.parametrize("principal", ["", "ip:192.0.2.1", "crowd", "user:", "user:x", "user:1\n"])
def test_addresses_and_nobody_cannot_be_blocked(principal: str) -> None:
    assert not is_blockable(principal)
    with pytest.raises(NotBlockable):
        block(principal, until=AT, by="root")
