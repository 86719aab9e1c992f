"""What staff read about a violation: the rule, what was expected and seen, how often, from where.

Everything here is read from the row itself and its neighbours; nothing is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Max, Q, QuerySet, Sum
from django.db.models.functions import TruncHour

from security.models import AuditEntry, ServiceAccount, Session, Violation
from security.refusals import RULES

__all__ = ["Explanation", "Often", "Origin", "Related", "explain", "per_hour", "sentence"]

ADDRESSES: Final = 8
HOURS: Final = 24
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

SENTENCES: Final[Mapping[str, str]] = {
    "auth_required": "A connection must show a token in its CONNECT packet, in time.",
    "auth_invalid": "A token counts only while it is authentic, for this door, and not revoked.",
    "auth_expired": "A token counts until its expiry, to the millisecond; then it is renewed.",
    "forbidden": "Being signed in is not a right: each door and each object asks who may.",
    "person_not_here": "An agent speaks only to people who are in a room that it was granted.",
    "too_many_connections": "One person, and one address, may hold only so many connections.",
    "penalty": "Whoever spent the violation budget, or was blocked by staff, rests for a while.",
    "malformed": "A message has exactly the agreed keys, types, lengths and alphabets.",
    "rate_limited": "Messages, bytes, connections and failed logins have a rate each.",
    "unknown_type": "Only the types of action that this door declares are taken.",
    "timestamp_expired": "A message is taken only close to the time at which it was signed.",
    "invalid_signature": "A message is signed with a key that only its own socket has.",
    "replay_detected": "A signed message counts once; its nonce is then spent.",
    "payload_invalid": "A payload is strict JSON: no duplicate keys, no NaN, nothing trailing.",
    "payload_too_large": "Frames, payloads and bodies have a size each.",
    "payload_too_complex": "A payload may be only so deep, and have only so many parts.",
    "schema_validation_failed": "A payload fits the schema of its action, without a key too many.",
    "quota_exceeded": "One person may have only so much in the works.",
    "conflict": "What was said once is not said otherwise later.",
    "not_found": "Only what is there, and is one's own, can be named.",
    "try_again": "The hub refuses what it cannot check, for instance while a store is full.",
    "internal_error": "The hub failed. Nothing was changed, and it is not the client's fault.",
    "engine_packet_incomplete": "An engine's message has exactly the agreed envelope.",
    "engine_timestamp_expired": "A message is taken only close to the time at which it was signed.",
    "engine_signature_invalid": "A message is signed with a key that only its own socket has.",
    "engine_nonce_replay": "A signed message counts once; its nonce is then spent.",
    "job_unknown": "An engine speaks of jobs that exist.",
    "job_not_yours": "An engine speaks of jobs that it was given.",
    "invalid_transition": "A job moves only along its table of states.",
    "stale_attempt": "Only the newest attempt at a job may speak of it.",
    "lease_expired": "An attempt counts as long as its lease was renewed.",
    "conflicting_completion": "A job is completed once, with one result.",
    "heartbeat_missing": "A client says regularly that somebody is there.",
    "slow_consumer": "Whoever does not read is disconnected; others must not wait for them.",
    "invalid_credentials": "A login needs the right name and password.",
    "auth_bypass_attempt": "Only a token tells who somebody is; claims beside it are refused.",
    "origin_forbidden": "Only pages of the hub and of listed origins may connect.",
    "token_in_url": "A token in an address ends up in logs, so it is refused there.",
    "refresh_reuse": "A refresh token buys one pair; shown again, its whole session ends.",
    "budget_exceeded": "Refusals cost points; who spends the budget is disconnected and rests.",
}
"""The rule behind each kind of violation, for people who did not write it."""


@dataclass(frozen=True, slots=True)
class Often:
    """How many refusals of some sort there were before and with this one."""

    what: str
    hour: int
    day: int


@dataclass(frozen=True, slots=True)
class Origin:
    """An address, and how many refusals of the day came from it."""

    ip: str
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Related:
    """A list of rows that have something in common with this one: ``query`` filters its page."""

    what: str
    model: str
    query: Mapping[str, str]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All of it. ``expected`` and ``seen`` are empty where the row says nothing finer."""

    rule: str
    told: str
    points: int
    reason: str
    expected: str
    seen: str
    often: tuple[Often, ...]
    addresses: tuple[Origin, ...]
    related: tuple[Related, ...]


def sentence(kind: str, code: str = "") -> str:
    """The rule behind a kind."""
    return SENTENCES.get(kind) or SENTENCES.get(code.lower()) or "The hub refused this."


def explain(row: Violation) -> Explanation:
    """Explain one violation by what is in the database now."""
    rule = RULES.get(row.code)
    expected, seen = _difference(row)
    return Explanation(
        rule=sentence(row.kind, row.code),
        told=rule.message if rule else "",
        points=rule.points if rule else 0,
        reason=str(row.detail.get("reason", "")),
        expected=expected,
        seen=seen,
        often=_often(row),
        addresses=_addresses(row),
        related=_related(row),
    )


def per_hour(now: datetime) -> list[int]:
    """Refusals in each of the last 24 hours, the current one last."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    first = this_hour - HOUR * (HOURS - 1)
    counted = (
        Violation.rows()
        .filter(at__gte=first)
        .order_by()
        .annotate(hour=TruncHour("at"))
        .values("hour")
        .annotate(refusals=Sum("count"))
    )
    by_hour = {each["hour"]: each["refusals"] for each in counted}
    return [by_hour.get(first + HOUR * number, 0) for number in range(HOURS)]


# Expected against seen.


def _difference(row: Violation) -> tuple[str, str]:
    compare = DIFFERENCES.get(row.kind)
    found = compare(row.detail) if compare is not None else None
    return found or _plain_difference(row.detail)


def _window(detail: Mapping[str, Any]) -> tuple[str, str] | None:
    ts, now, drift = (detail.get(name) for name in ("seen", "now", "drift_ms"))
    if not (type(ts) is int and type(now) is int and type(drift) is int):
        return None
    apart = now - ts
    side = "old" if apart > 0 else "ahead of the hub's clock"
    return f"at most {drift / 1000:g} s from the hub's clock", f"{abs(apart) / 1000:,.3f} s {side}"


def _origin(detail: Mapping[str, Any]) -> tuple[str, str]:
    setting = detail.get("setting", "HUB_ALLOWED_ORIGINS")
    return f"the hub's own origin, or one listed in {setting}", _shown(detail.get("seen") or "none")


def _plain_difference(detail: Mapping[str, Any]) -> tuple[str, str]:
    expected = f"at most {detail['limit']:,}" if type(detail.get("limit")) is int else ""
    return expected, _shown(detail["seen"]) if "seen" in detail else ""


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)


DIFFERENCES: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str] | None]]] = {
    "timestamp_expired": _window,
    "engine_timestamp_expired": _window,
    "origin_forbidden": _origin,
}


# Its neighbours.


def _often(row: Violation) -> tuple[Often, ...]:
    own, kind = Q(principal=row.principal), Q(kind=row.kind)
    return (
        _counted(f"{row.kind} by {row.principal or 'nobody'}", own & kind, row.at),
        _counted(f"any kind by {row.principal or 'nobody'}", own, row.at),
        _counted(f"{row.kind} by anybody", kind, row.at),
    )


def _counted(what: str, which: Q, until: datetime) -> Often:
    def total(span: timedelta) -> int:
        rows = Violation.rows().filter(which, at__gt=until - span, at__lte=until)
        return int(rows.aggregate(total=Sum("count"))["total"] or 0)

    return Often(what, hour=total(HOUR), day=total(DAY))


def _addresses(row: Violation) -> tuple[Origin, ...]:
    rows = Violation.rows().filter(
        principal=row.principal, ip__isnull=False, at__gt=row.at - DAY, at__lte=row.at + DAY
    )
    found = rows.order_by().values("ip").annotate(count=Sum("count"), last_at=Max("at"))
    return tuple(Origin(**each) for each in found.order_by("-count", "ip")[:ADDRESSES])


def _related(row: Violation) -> tuple[Related, ...]:
    candidates: list[tuple[str, QuerySet[Any], dict[str, str]]] = [
        ("same person or service", Violation.rows(), {"principal": row.principal}),
        ("same kind", Violation.rows(), {"kind": row.kind}),
        ("same login session", Violation.rows(), {"login_session": row.login_session}),
        ("same socket", Violation.rows(), {"sid_hash": row.sid_hash}),
        ("same address", Violation.rows(), {"ip": row.ip or ""}),
        ("what that person or service did", AuditEntry.rows(), {"principal": row.principal}),
        ("that login", Session.objects.all(), {"id": row.login_session}),
        ("that account", ServiceAccount.objects.all(), _account(row.principal)),
    ]
    return tuple(
        Related(what, rows.model.__name__.lower(), query, count)
        for what, rows, query in candidates
        if query and all(query.values()) and (count := rows.filter(**query).count())
    )


def _account(principal: str) -> dict[str, str]:
    """How the list of service accounts is filtered by a principal; empty for a person."""
    kind, _, name = principal.partition(":")
    return {"kind": kind, "name": name} if kind in {"engine", "agent"} else {}
