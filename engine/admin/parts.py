"""What the pages of this app share: durations, JSON, rows below rows, and the state of dispatch."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from engine.models import DispatchControl, Job
from engine.views import engine_online
from security.admin import ReadOnlyAdmin

__all__ = ["ReadOnlyInline", "Situated", "bar", "pretty", "ran", "table", "time_between", "waited"]

NARROW: Final = "\u202f"  # a narrow space at which no line is broken
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
MINUTES_FROM, HOURS_FROM = 2 * MINUTE, 2 * HOUR


def time_between(start: datetime | None, end: datetime | None) -> str:
    """A duration for reading: to the millisecond below two minutes; a dash without both ends."""
    if start is None or end is None:
        return "-"
    if (took := end - start) < MINUTES_FROM:
        return f"{took / SECOND:.3f}{NARROW}s"
    if took < HOURS_FROM:
        return f"{took // MINUTE}{NARROW}min {took % MINUTE // SECOND}{NARROW}s"
    return f"{took // HOUR}{NARROW}h {took % HOUR // MINUTE}{NARROW}min"


def waited(job: Job) -> str:
    """How long a job waited for its latest attempt, or waits."""
    over = job.dispatched_at or job.finished_at
    return time_between(job.queued_at, over or timezone.now())


def ran(job: Job) -> str:
    """How long its latest attempt ran, or runs."""
    return time_between(job.started_at, job.finished_at or timezone.now())


def bar(percent: int) -> SafeString:
    """A progress from 0 to 100, drawn and written."""
    return format_html('<progress max="100" value="{}"></progress>\u202f{}', percent, percent)


def pretty(value: object) -> SafeString:
    """A JSON value laid out for reading; ASCII only, so that no character turns a line around."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, sort_keys=True))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """A small table; every cell is text and escaped, unless it is safe already."""
    head = format_html_join("", "<th>{}</th>", ((each,) for each in heads))
    body = format_html_join("", "<tr>{}</tr>", ((_cells(row),) for row in rows))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def _cells(row: Sequence[object]) -> SafeString:
    return format_html_join("", "<td>{}</td>", ((each,) for each in row))


class ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]  # no parameter at run time
    """Rows below a row, for looking at only."""

    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401 - Django's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401 - Django's signature
        return False


class Situated(ReadOnlyAdmin):
    """A list that says above its rows if jobs wait for an engine or for staff."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's page, with what is worth a banner."""
        return super().changelist_view(request, {**(extra_context or {}), "dispatch": _situation()})


def _situation() -> dict[str, Any]:
    control = DispatchControl.objects.select_related("changed_by").filter(paused=True).first()
    return {
        "control": control,
        "online": engine_online(),
        "waiting": Job.objects.filter(state="queued").count(),
    }
