"""What members of staff see first in the admin: the last day's refusals, the work, the engines.

Each part is shown only to those who may see its rows. Four small queries, one of them over the
violations of a day, by their index on time; nothing here is kept.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Count, Sum
from django.db.models.functions import TruncHour

from engine.models import LIVE_STATES, Job
from engine.views import engine_status
from security.models import DrillRun, Violation

__all__ = ["Bar", "Overview", "Refusals", "Work", "bars", "overview"]

HOURS: Final = 24
KINDS_SHOWN: Final = 5
HEIGHT: Final = 96  # of the tallest bar, in the drawing's units
WIDTH: Final = 20  # of one hour, with its gap
SEVERITIES: Final = tuple(severity.value for severity in Violation.Severity)

Counts = Mapping[tuple[datetime, str], int]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar: where it stands in the drawing, and what it counts."""

    severity: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour: its refusals by severity, stacked from the ground up."""

    x: int
    hour: datetime
    total: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Refusals:
    """The violations of a day: by hour and severity, and the most frequent kinds."""

    total: int
    bars: tuple[Bar, ...]
    kinds: tuple[tuple[str, int], ...]
    width: int = WIDTH * HOURS
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Work:
    """Jobs by what becomes of them, and the engines that are known."""

    waiting: int
    running: int
    failed: int
    engines: Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Overview:
    """What one member of staff may see; None for what they may not."""

    refusals: Refusals | None = None
    work: Work | None = None
    drill: DrillRun | None = None


def overview(user: AbstractBaseUser | AnonymousUser, now: datetime) -> Overview:
    """Read what this user may see, as of now."""
    may = getattr(user, "has_perm", lambda _permission: False)
    return Overview(
        refusals=_refusals(now) if may("security.view_violation") else None,
        work=_work(now) if may("engine.view_job") else None,
        drill=DrillRun.objects.first() if may("security.view_drillrun") else None,
    )


def bars(counts: Counts, *, until: datetime) -> tuple[Bar, ...]:
    """The hours before ``until``, oldest first; the busiest one is as tall as the drawing.

    ``counts`` are by the start of the hour and by severity.
    """
    newest = until.replace(minute=0, second=0, microsecond=0)
    hours = [newest - timedelta(hours=back) for back in reversed(range(HOURS))]
    totals = [sum(counts.get((hour, each), 0) for each in SEVERITIES) for hour in hours]
    scale = HEIGHT / max(1, *totals)
    return tuple(
        Bar(place * WIDTH, hour, total, tuple(_stacked(counts, hour, scale)))
        for place, (hour, total) in enumerate(zip(hours, totals, strict=True))
    )


def _stacked(counts: Counts, hour: datetime, scale: float) -> Iterable[Segment]:
    ground = float(HEIGHT)
    for severity in reversed(SEVERITIES):  # the gravest at the bottom, where they compare best
        height = counts.get((hour, severity), 0) * scale
        if height:
            ground -= height
            yield Segment(severity, round(ground, 2), round(height, 2))


def _refusals(now: datetime) -> Refusals:
    rows = Violation.objects.filter(at__gt=now - timedelta(hours=HOURS)).order_by()
    counted = rows.annotate(hour=TruncHour("at")).values_list("hour", "severity", "kind")
    counts, kinds = Counter[tuple[datetime, str]](), Counter[str]()
    for hour, severity, kind, total in counted.annotate(Sum("count")):
        counts[hour, severity] += total
        kinds[kind] += total
    return Refusals(
        total=kinds.total(),
        bars=bars(counts, until=now),
        kinds=tuple(kinds.most_common(KINDS_SHOWN)),
    )


def _work(now: datetime) -> Work:
    states = Job.objects.filter(state__in=LIVE_STATES).order_by().values_list("state")
    engines = engine_status(now=now)
    return Work(
        waiting=int(str(engines["waiting_jobs"])),
        running=sum(count for _state, count in states.annotate(Count("id"))),
        failed=Job.objects.filter(
            state="failed", finished_at__gt=now - timedelta(hours=HOURS)
        ).count(),
        engines=engines["engines"],  # type: ignore[arg-type]  # the body is of objects; these are rows
    )
