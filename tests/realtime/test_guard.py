"""Budgets and penalties: what a refusal costs, whom it is charged to, and who then has to rest."""

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from realtime.guard import Guard, Seat, Wire, session_key
from realtime.state.memory import MemoryNonceStore
from security import violations
from security.conf import HubSettings
from security.limits import Budget, TokenBucket
from security.principals import Principal
from security.refusals import RULES, Refused

# docs/security.md, the row of VIOLATION_BUDGET; every code that is not here costs nothing.
POINTS = {
    "malformed": 1,
    "unknown_type": 1,
    "timestamp_expired": 1,
    "invalid_signature": 3,
    "replay_detected": 3,
    "forbidden": 3,
    "FORBIDDEN": 3,
    "ENGINE_PACKET_INCOMPLETE": 1,
    "ENGINE_TIMESTAMP_EXPIRED": 1,
    "ENGINE_SIGNATURE_INVALID": 3,
    "ENGINE_NONCE_REPLAY": 3,
}
ADA = Principal(
    kind="user",
    subject="1",
    username="ada",
    role="user",
    session_id="s1",
    kid="k",
    version=1,
    expires_at=0,
    token_id="t1",
)
ENGINE = replace(ADA, kind="engine", subject="e1", role="engine", session_id="")
LATER_MS = 5_000  # after the grace for signatures


def guard(**settings: Any) -> Guard:
    return Guard(HubSettings(**settings), MemoryNonceStore(capacity=10))


def seat(principal: Principal = ADA, *, points: int = 10) -> Seat:
    bucket = TokenBucket(1, 1)
    wire = Wire(ip="", group="", messages=bucket, size=bucket, budget=Budget(points), quiet=bucket)
    unused: Any = None
    return Seat(
        principal=principal,
        wire=wire,
        receives=unused,
        sends=unused,
        server_nonce=b"",
        joined_at_ms=0,
        expires_at_ms=0,
    )


def charge(
    guarded: Guard, at: Seat, code: str, *, now: float = 0.0, now_ms: int = LATER_MS
) -> bool:
    return asyncio.run(guarded.charge(at, Refused(code), now=now, now_ms=now_ms))


@pytest.mark.parametrize("code", sorted(RULES))
def test_every_refusal_costs_what_the_table_says(code: str) -> None:
    guarded, points = guard(), POINTS.get(code, 0)
    bears = 10 // points if points else 100
    at = seat()
    assert not any(charge(guarded, at, code) for _ in range(bears))
    assert charge(guarded, at, code) is bool(points)


@pytest.mark.parametrize("code", ["invalid_signature", "ENGINE_SIGNATURE_INVALID"])
def test_signatures_are_free_while_a_client_may_flush_what_it_buffered(code: str) -> None:
    guarded, at = guard(), seat()
    assert not any(charge(guarded, at, code, now_ms=4_999) for _ in range(50))
    assert [charge(guarded, at, code, now_ms=5_000) for _ in range(4)] == [False] * 3 + [True]


@pytest.mark.parametrize("code", ["replay_detected", "malformed"])
def test_nothing_else_is_free_then(code: str) -> None:
    guarded, at = guard(), seat()
    assert any(charge(guarded, at, code, now_ms=0) for _ in range(11))


def test_a_spent_budget_keeps_the_login_session_out_for_the_penalty() -> None:
    guarded, at = guard(penalty_s=60), seat()
    for _ in range(4):
        charge(guarded, at, "replay_detected", now=100.0)
    assert guarded.penalties.is_penalised("s1", 100.0) == 60_000
    assert guarded.penalties.is_penalised("s1", 160.0) == 0


def test_the_sockets_of_a_login_session_share_its_budget_and_another_session_does_not() -> None:
    guarded, mine, other = guard(), seat(), seat(replace(ADA, session_id="s2"))
    assert not any(charge(guarded, mine, "replay_detected") for _ in range(3))
    assert charge(guarded, seat(), "replay_detected")
    assert not charge(guarded, other, "replay_detected")
    assert guarded.penalties.is_penalised("s2", 0.0) == 0


def test_points_are_forgotten_after_a_minute() -> None:
    guarded, at = guard(), seat()
    assert not any(charge(guarded, at, "replay_detected", now=0.0) for _ in range(3))
    assert not any(charge(guarded, at, "replay_detected", now=60.0) for _ in range(3))


def test_a_connection_has_a_budget_of_its_own_across_its_namespaces() -> None:
    guarded, person, engine = guard(), seat(), seat(ENGINE)
    engine.wire = person.wire
    assert not any(charge(guarded, person, "replay_detected") for _ in range(3))
    assert charge(guarded, engine, "ENGINE_NONCE_REPLAY")


def test_a_service_rests_by_its_token_so_a_stolen_one_does_not_lock_out_the_owner() -> None:
    assert session_key(ADA) == "s1"
    assert session_key(ENGINE) == "engine:e1#t1"
    assert session_key(replace(ENGINE, token_id="t2")) != session_key(ENGINE)


def test_an_incident_is_about_the_principal_that_is_named_or_the_last_of_its_connection() -> None:
    guarded, at = guard(), seat()
    nobody = guarded.incident(Refused("malformed"), wire=at.wire)
    assert (nobody.principal, nobody.user_id, nobody.login_session) == ("", None, "")
    at.wire.principal = ADA
    assert guarded.incident(Refused("malformed"), wire=at.wire).principal == "user:1"
    named = guarded.incident(Refused("malformed"), wire=at.wire, principal=ENGINE)
    assert (named.principal, named.user_id, named.login_session) == ("engine:e1", None, "")


def test_an_incident_carries_the_refusals_message_before_the_events_name() -> None:
    refused = Refused("forbidden", detail={"room": "x"})
    refused.event_type, refused.payload_sha256 = "room_join", "ab" * 32
    incident = guard().incident(refused, wire=seat().wire, namespace="/", sid="x", event="action")
    assert (incident.event_type, incident.payload_sha256) == ("room_join", "ab" * 32)
    assert (incident.namespace, incident.sid, incident.detail) == ("/", "x", {"room": "x"})
    plain = guard().incident(Refused("malformed"), wire=seat().wire, event="heartbeat")
    assert plain.event_type == "heartbeat"


@pytest.mark.parametrize("own_row", [True, False])
async def test_a_refusal_waits_for_its_own_row_and_for_no_roll_up(
    monkeypatch: pytest.MonkeyPatch, own_row: bool
) -> None:
    future: Future[None] = Future()
    awaited: list[object] = []

    async def confirm(stored: object) -> bool:
        awaited.append(stored)
        return True

    monkeypatch.setattr(violations, "report", lambda _incident: future if own_row else None)
    monkeypatch.setattr(violations, "confirm", confirm)
    guarded = guard()
    await guarded.record(guarded.incident(Refused("malformed"), wire=seat().wire))
    assert awaited == ([future] if own_row else [])


def test_what_is_free_stays_free_when_the_budget_is_spent() -> None:
    guarded, at = guard(), seat()
    assert any(charge(guarded, at, "replay_detected") for _ in range(4))
    assert not charge(guarded, at, "rate_limited")


@pytest.mark.parametrize(("ip", "recorded"), [("192.0.2.1", "192.0.2.1"), ("", None)])
def test_an_incident_names_the_address_where_there_is_one(ip: str, recorded: str | None) -> None:
    at = seat()
    at.wire.ip = ip
    assert guard().incident(Refused("malformed"), wire=at.wire).ip == recorded
