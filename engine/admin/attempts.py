"""A job's attempts, put together from its history: who had it, how long, and how it ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from engine.admin.parts import table, time_between
from engine.models import Job, JobEvent

__all__ = ["Attempt", "attempts_of", "attempts_shown", "timeline"]

ENDS: Final = frozenset({"complete", "release", "fail", "cancel", "upstream_fail"})
COLOURS: Final = {"complete": "#2f8f5b", "": "#3b73c8"}  # ended well; still going on
BAD: Final = "#c0483e"
WAITING: Final = "#9aa3ad"
WIDTH, ROW, BAR = 640, 22, 14  # pixels


@dataclass(slots=True)
class Attempt:
    """One attempt; times are None for what has not happened. `end` is the event that ended it."""

    number: int
    engine: str
    waiting_since: datetime
    dispatched_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end: str = ""
    error: str = ""


def attempts_of(job: Job) -> list[Attempt]:
    """Return a job's attempts, the first one first."""
    attempts: list[Attempt] = []
    waiting_since = job.queued_at
    for event in job.events.order_by("id"):
        if event.event == "dispatch":
            attempts.append(Attempt(event.attempt, event.engine, waiting_since, event.at))
        elif event.event == "start" and attempts:
            attempts[-1].started_at = event.at
        elif event.event in ENDS and attempts and not attempts[-1].end:
            waiting_since = event.at
            _end(attempts[-1], event, job)
    return attempts


def _end(attempt: Attempt, event: JobEvent, job: Job) -> None:
    attempt.end, attempt.ended_at = event.event, event.at
    if event.event != "complete":
        code = event.detail.get("error_code") or job.error_code
        message = event.detail.get("error_message") or job.error_message
        attempt.error = f"{code}: {message}"


def attempts_shown(attempts: Sequence[Attempt]) -> SafeString | str:
    """The attempts as a table with how long each waited and ran."""
    if not attempts:
        return "-"
    return table(
        ("attempt", "engine", "waited", "until it started", "ran", "end", "error"),
        (
            (
                each.number,
                each.engine,
                time_between(each.waiting_since, each.dispatched_at),
                time_between(each.dispatched_at, each.started_at),
                time_between(each.started_at, each.ended_at),
                each.end or "-",
                each.error,
            )
            for each in attempts
        ),
    )


def timeline(attempts: Sequence[Attempt], now: datetime) -> SafeString | str:
    """The attempts as bars on one scale: grey waited, blue runs, green came through, red did not.

    An SVG with attributes only: the site's policy admits no styles in a page.
    """
    if not attempts:
        return "-"
    start = attempts[0].waiting_since
    end = attempts[-1].ended_at or now
    scale = WIDTH / max((end - start) / timedelta(seconds=1), 0.001)
    bars = format_html_join(
        "",
        '<rect x="{}" y="{}" width="{}" height="{}" rx="2" fill="{}"><title>{}</title></rect>',
        (
            (f"{(a - start).total_seconds() * scale:.1f}", row * ROW + 4, width, BAR, fill, text)
            for row, each in enumerate(attempts)
            for a, b, fill, text in _spans(each, now)
            for width in (f"{max(1.0, (b - a).total_seconds() * scale):.1f}",)
        ),
    )
    return format_html(
        '<svg role="img" aria-label="{} attempts in {}" width="{}" height="{}">{}</svg>',
        len(attempts),
        time_between(start, end),
        WIDTH,
        len(attempts) * ROW,
        bars,
    )


def _spans(attempt: Attempt, now: datetime) -> Iterable[tuple[datetime, datetime, str, str]]:
    began = attempt.started_at or attempt.ended_at or now
    ended = attempt.ended_at or now
    yield attempt.waiting_since, began, WAITING, f"attempt {attempt.number} waits"
    if attempt.started_at:
        colour = COLOURS.get(attempt.end, BAD)
        yield attempt.started_at, ended, colour, f"attempt {attempt.number} runs"
