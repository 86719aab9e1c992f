"""Violations that explain themselves, the audit, and the last security drills."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from security import blocks, clock, explanation
from security.admin.bases import (
    ReadOnlyAdmin,
    RecordAdmin,
    audit_staff,
    audit_staff_action,
)
from security.admin.confirmation import confirmed
from security.export import MODELS, lines
from security.models import AuditEntry, DrillRun, Session, User, Violation
from security.sessions import end_session, end_sessions

__all__ = ["AuditEntryAdmin", "DrillRunAdmin", "ViolationAdmin"]

BLOCK: Final = timedelta(hours=1)
EXPORTS: Final = (("jsonl", "As JSON lines"), ("csv", "As CSV"))
CONTENT_TYPES: Final = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
WIDTH, HEIGHT = 480, 48  # of the curve, in its own units

Answer = HttpResponseBase | None


class ExportableAdmin(RecordAdmin):
    """Records that staff can take with them."""

    actions: Sequence[Any] = ("export_chosen",)
    name: ClassVar[str]

    @admin.action(description="Export selected", permissions=["view"])
    def export_chosen(self, request: HttpRequest, rows: QuerySet[Any]) -> Answer:
        count = rows.count()
        answer = confirmed(
            self,
            request,
            title=f"Export {self.name}",
            says="The file holds names and addresses of people. That it was made is audited.",
            effects=[f"{count} rows"],
            choices=EXPORTS,
        )
        if not isinstance(answer, str):
            return answer
        audit_staff_action(
            request, "staff_records_exported", request.user, target=self.name, rows=count
        )
        body = lines(rows.order_by("pk").iterator(chunk_size=500), MODELS[self.name], answer)
        response = StreamingHttpResponse(body, content_type=CONTENT_TYPES[answer])
        response["Content-Disposition"] = f'attachment; filename="{self.name}.{answer}"'
        return response


@admin.register(Violation)
class ViolationAdmin(ExportableAdmin):
    """What was refused, why, how often, and what staff can do about it."""

    name = "violations"
    list_display = ("when", "weight", "kind", "who", "ip", "event_type", "count")
    list_filter = ("severity", "kind", "namespace")
    search_fields = ("principal", "ip", "kind", "event_type")
    actions: Sequence[Any] = (
        "end_their_sessions",
        "block_for_an_hour",
        "export_chosen",
    )
    change_form_template = "security/admin/violation.html"
    change_list_template = "security/admin/violations.html"

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.end_session")

    def has_block_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("security.block_principal")

    @admin.display(description="severity", ordering="severity")
    def weight(self, row: Violation) -> SafeString:
        return format_html('<span class="hub-severity hub-{0}">{0}</span>', row.severity)

    # -- pages

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,  # noqa: ANN401 - Django's signature
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> HttpResponse:
        row: Violation = context["original"]
        context["explanation"] = told = explanation.explain(row)
        context["related"] = [(each, _page_of(each)) for each in told.related]
        context["may_end"] = self.has_end_permission(request) and row.user_id is not None
        context["may_block"] = self.has_block_permission(request) and blocks.is_blockable(
            row.principal
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        counts = explanation.per_hour(clock.moment(clock.now_ms()))
        drill = DrillRun.objects.first()
        extra = {"curve": _curve(counts), "refusals": sum(counts), "most": max(counts)}
        return super().changelist_view(
            request, {**(extra_context or {}), **extra, "last_drill": drill}
        )

    # -- actions

    @admin.action(description="End sessions", permissions=["end"])
    def end_their_sessions(self, request: HttpRequest, rows: QuerySet[Any]) -> Answer:
        sessions, people = _sessions_of(rows)
        answer = confirmed(
            self,
            request,
            title="End sessions",
            says="Tokens become worthless, and open sockets close. They may log in again.",
            effects=[
                *(f"the login session of {session}" for session in sessions),
                *(f"all logins of {person.username}" for person in people),
            ],
        )
        if not isinstance(answer, str):
            return answer
        now = clock.now_ms() / 1000
        for session in sessions:
            if end_session(session, "ended_by_staff", now):
                audit_staff(request, "staff_session_ended", session)
        for person in people:
            end_sessions(person, now)
            audit_staff(request, "staff_logins_ended", person)
        messages.success(request, f"{len(sessions)} sessions and {len(people)} people ended.")
        return None

    @admin.action(description="Block for an hour", permissions=["block"])
    def block_for_an_hour(self, request: HttpRequest, rows: QuerySet[Any]) -> Answer:
        names = rows.order_by("principal").values_list("principal", flat=True).distinct()
        chosen = [name for name in names if blocks.is_blockable(name)]
        answer = confirmed(
            self,
            request,
            title="Block for an hour",
            says="Their sockets close, and they are refused with PENALTY until the hour is over. "
            "Addresses cannot be blocked here.",
            effects=chosen,
        )
        if not isinstance(answer, str):
            return answer
        until = clock.moment(clock.now_ms()) + BLOCK
        for name in chosen:
            blocks.block(name, until=until, by=request.user.get_username(), reason="violation")
            audit_staff_action(request, "staff_blocked", request.user, target=name)
        messages.success(request, f"{len(chosen)} blocked until {until:%H:%M} UTC.")
        return None


@admin.register(AuditEntry)
class AuditEntryAdmin(ExportableAdmin):
    """What was done."""

    name = "audit"
    list_display = ("when", "action", "who", "target", "ip")
    list_filter: ClassVar[tuple[str, ...]] = ("action", "namespace")
    search_fields = ("principal", "ip", "action", "target")


@admin.register(DrillRun)
class DrillRunAdmin(ReadOnlyAdmin):
    """What the security drills found: the evidence page."""

    list_display = ("at", "url", "scenarios", "gaps")
    date_hierarchy = "at"
    change_form_template = "security/admin/drill.html"


def _sessions_of(rows: QuerySet[Any]) -> tuple[list[Session], list[User]]:
    """The login sessions that violations name, and the people of those that name none."""
    named = set(rows.exclude(login_session="").values_list("login_session", flat=True))
    unnamed = set(
        rows.filter(login_session="", user_id__isnull=False).values_list("user_id", flat=True)
    )
    sessions = Session.objects.select_related("user").filter(pk__in=named, revoked_at=None)
    return list(sessions), list(User.objects.filter(pk__in=unnamed))


def _page_of(related: explanation.Related) -> str:
    page = reverse(f"admin:security_{related.model}_changelist")
    return f"{page}?{urlencode(related.query)}"


def _curve(counts: list[int]) -> str:
    """Points of an SVG line through counts, the highest at the top."""
    step, most = WIDTH / (len(counts) - 1), max(*counts, 1)
    height = HEIGHT - 4
    return " ".join(
        f"{number * step:.1f},{HEIGHT - 2 - count / most * height:.1f}"
        for number, count in enumerate(counts)
    )
