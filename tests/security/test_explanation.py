"""A violation explains itself: rule, difference, how often, from where, what else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from security import explanation, services
from security.models import AuditEntry, User, Violation
from security.refusals import KIND_SEVERITY, RULES
from security.sessions import RequestMeta, open_session

AT = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def record(*, ago: timedelta = timedelta(), **changes: Any) -> Violation:
    at = AT - ago
    facts = {"kind": "replay_detected", "code": "replay_detected", "severity": "high",
             "principal": "user:1", "ip": "192.0.2.1", "count": 1}  # fmt: skip
    row = Violation(**{**facts, **changes}, at=at, first_at=at, last_at=at, writer="w")
    row.save()
    return row


@pytest.mark.parametrize("kind", sorted({code.lower() for code in RULES} | set(KIND_SEVERITY)))
def test_every_kind_has_a_sentence(kind: str) -> None:
    assert kind in explanation.SENTENCES


def test_a_kind_of_an_unknown_make_is_explained_by_its_code_or_plainly() -> None:
    assert explanation.sentence("new", "FORBIDDEN") == explanation.SENTENCES["forbidden"]
    assert explanation.sentence("new", "other")


@pytest.mark.parametrize(
    ("ts", "seen"), [(-16_000, "16.000 s old"), (15_500, "15.500 s ahead of the hub's clock")]
)
def test_a_timestamp_is_explained_in_seconds(ts: int, seen: str) -> None:
    now = 1_760_000_000_000
    row = record(
        kind="timestamp_expired",
        code="timestamp_expired",
        detail={"reason": "outside", "seen": now + ts, "now": now, "drift_ms": 15_000},
    )
    told = explanation.explain(row)
    assert (told.expected, told.seen) == ("at most 15 s from the hub's clock", seen)
    assert (told.reason, told.points) == ("outside", 1)


@pytest.mark.parametrize(
    ("kind", "detail", "expected", "seen"),
    [
        ("origin_forbidden", {"seen": "https://evil.example", "setting": "HUB_X"},
         "the hub's own origin, or one listed in HUB_X", "https://evil.example"),
        ("payload_too_large", {"seen": 9000, "limit": 8192}, "at most 8,192", "9,000"),
        ("auth_bypass_attempt", {"seen": ["role", "userId"]}, "", "role, userId"),
        ("timestamp_expired", {"seen": "x"}, "", "x"),
        ("replay_detected", {}, "", ""),
    ],
)  # fmt: skip
def test_what_was_expected_and_seen(
    kind: str, detail: dict[str, Any], expected: str, seen: str
) -> None:
    told = explanation.explain(record(kind=kind, detail=detail))
    assert (told.expected, told.seen) == (expected, seen)


def test_it_is_counted_by_principal_and_kind_in_the_last_hour_and_day() -> None:
    record(ago=timedelta(minutes=59), count=5)
    record(ago=timedelta(hours=23), count=7, kind="malformed", code="malformed")
    record(ago=timedelta(hours=25), count=100)
    record(ago=timedelta(minutes=1), count=20, principal="user:2")
    record(ago=-timedelta(minutes=1), count=40)
    told = explanation.explain(record())
    assert [(each.hour, each.day) for each in told.often] == [(6, 6), (6, 13), (26, 26)]


def test_addresses_come_with_their_counts_the_most_frequent_first() -> None:
    record(count=3)
    record(ip="192.0.2.2", count=9, ago=timedelta(hours=2))
    record(ip=None)
    record(ip="192.0.2.3", principal="user:2")
    told = explanation.explain(record())
    assert [(each.ip, each.count) for each in told.addresses] == [
        ("192.0.2.2", 9),
        ("192.0.2.1", 4),
    ]


def test_related_rows_are_counted_and_what_is_empty_is_left_out() -> None:
    AuditEntry(at=AT, action="token_issued", principal="user:1").save()
    record(login_session="s1", kind="malformed", code="malformed")
    told = explanation.explain(record(login_session="s1"))
    assert [(each.what, each.model, each.count) for each in told.related] == [
        ("same person or service", "violation", 2),
        ("same kind", "violation", 1),
        ("same login session", "violation", 2),
        ("same address", "violation", 2),
        ("what that person or service did", "auditentry", 1),
    ]


def test_the_login_and_the_account_themselves_are_one_click_away() -> None:
    user = User.objects.create_user("ada", password="x")
    login = open_session(user, RequestMeta(), AT.timestamp())
    services.add("engine", "forge-1")
    mine = explanation.explain(record(login_session=login.session_id)).related
    theirs = explanation.explain(record(principal="engine:forge-1")).related
    assert [each.query for each in mine if each.model == "session"] == [{"id": login.session_id}]
    assert [each.query for each in theirs if each.model == "serviceaccount"] == [
        {"kind": "engine", "name": "forge-1"}
    ]
    gone = explanation.explain(record(principal="engine:gone", login_session="s_gone")).related
    assert {each.model for each in gone} == {"violation"}


def test_the_last_day_is_counted_by_hours() -> None:
    record(count=2)
    record(count=3, ago=timedelta(minutes=20))
    record(count=5, ago=timedelta(hours=23))
    record(count=7, ago=timedelta(hours=24))
    counts = explanation.per_hour(AT)
    assert len(counts) == 24
    assert (counts[0], counts[-1], sum(counts)) == (5, 5, 10)
