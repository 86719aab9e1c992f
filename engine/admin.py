"""Builds, jobs, engines and feeds in the admin: shown in full, changed by nobody.

What staff may do to a build they do as anyone does, by a signed action; the admin only shows.
"""

import json
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from engine.models import Build, EngineSession, FeedEvent, Job, JobEvent
from engine.views import artifact_url, live_jobs_by_engine
from security.admin import ReadOnlyAdmin

__all__ = ["BuildAdmin", "EngineSessionAdmin", "FeedEventAdmin", "JobAdmin"]


def seconds_between(start: datetime | None, end: datetime | None) -> str:
    """A duration for reading, to the millisecond; a dash while one end is missing."""
    if start is None or end is None:
        return "-"
    return f"{(end - start) / timedelta(seconds=1):.3f} s"


def pretty(value: object) -> SafeString:
    """A JSON value laid out for reading; ASCII only, so that no character turns a line around."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, sort_keys=True))


class ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]  # no parameter at run time
    """Rows below a row, for looking at only."""

    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401 - Django's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401 - Django's signature
        return False


class JobInline(ReadOnlyInline):
    """The jobs of a build, in their order, also those that a retry replaced."""

    model = Job
    fk_name = "build"
    ordering = ("stage", "ordinal", "opening")
    fields = ("id", "job_type", "state", "attempt", "progress", "engine_session", "error_code")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> Any:  # noqa: ANN401 - Django's QuerySet of the inline
        rows = super().get_queryset(request)
        return rows.select_related("engine_session").defer("payload", "result")


class JobEventInline(ReadOnlyInline):
    """The history of a job as a timeline."""

    model = JobEvent
    show_change_link = False
    fields = ("at", "event", "from_state", "to_state", "attempt", "engine", "detail")
    readonly_fields = fields
    verbose_name_plural = "timeline"


@admin.register(Build)
class BuildAdmin(ReadOnlyAdmin):
    """Builds, with their jobs and the built world."""

    list_display = (
        "id",
        "world_name",
        "user",
        "state",
        "jobs_done",
        "engine_name",
        "created_at",
        "took",
    )
    list_filter = ("state", "priority", "engine_name")
    list_select_related = ("user",)
    list_per_page = 50
    show_full_result_count = False  # counting a long table takes longer than showing its page
    search_fields = ("id", "world_name", "world_id", "user__username", "request_id")
    date_hierarchy = "created_at"
    exclude = ("world_text", "artifact")
    readonly_fields = ("waited", "took", "world_file", "specification")
    inlines: ClassVar[list[Any]] = [JobInline]

    @admin.display(description="jobs")
    def jobs_done(self, build: Build) -> str:
        failed = f", {build.failed} failed" if build.failed else ""
        return f"{build.completed} of {build.total}{failed}"

    @admin.display(description="waited")
    def waited(self, build: Build) -> str:
        return seconds_between(build.created_at, build.started_at)

    @admin.display(description="took")
    def took(self, build: Build) -> str:
        return seconds_between(build.started_at, build.finished_at)

    @admin.display(description="3D file")
    def world_file(self, build: Build) -> SafeString | str:
        address = artifact_url(build)
        if address is None:
            return "-"
        return format_html('<a href="{}">{} bytes (.glb)</a>', address, build.artifact_size)

    @admin.display(description="specification")
    def specification(self, build: Build) -> SafeString:
        return pretty(json.loads(build.world_text))


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs, with their history."""

    list_display = (
        "id",
        "job_type",
        "state",
        "build",
        "attempt",
        "losses",
        "engine_session",
        "queued_at",
        "waited",
        "ran",
    )
    list_filter = ("state", "job_type", "priority", "finish")
    list_select_related = ("build", "engine_session")
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("id", "build__id", "attempt_id", "error_code")
    date_hierarchy = "queued_at"
    exclude = ("payload", "result")
    readonly_fields = ("waited", "ran", "payload_shown", "result_shown")
    inlines: ClassVar[list[Any]] = [JobEventInline]

    @admin.display(description="waited")
    def waited(self, job: Job) -> str:
        return seconds_between(job.queued_at, job.dispatched_at)

    @admin.display(description="ran")
    def ran(self, job: Job) -> str:
        return seconds_between(job.started_at, job.finished_at)

    @admin.display(description="payload")
    def payload_shown(self, job: Job) -> SafeString:
        return pretty(job.payload)

    @admin.display(description="result")
    def result_shown(self, job: Job) -> SafeString:
        return pretty(job.result)


@admin.register(EngineSession)
class EngineSessionAdmin(ReadOnlyAdmin):
    """Engine connections, open ones and those of before."""

    list_display = (
        "name",
        "state",
        "held",
        "capacity",
        "version",
        "node",
        "connected_at",
        "last_seen_at",
        "closed_at",
    )
    list_filter = ("state", "name")
    search_fields = ("name", "id", "node")
    date_hierarchy = "connected_at"
    readonly_fields = ("held", "jobs_link", "connected_for")

    @admin.display(description="live jobs")
    def held(self, session: EngineSession) -> int:
        return 0 if session.closed_at else live_jobs_by_engine().get(session.id, 0)

    @admin.display(description="jobs")
    def jobs_link(self, session: EngineSession) -> SafeString:
        address = reverse("admin:engine_job_changelist")
        return format_html(
            '<a href="{}?engine_session__id__exact={}">all its jobs</a>', address, session.id
        )

    @admin.display(description="connected for")
    def connected_for(self, session: EngineSession) -> str:
        return seconds_between(session.connected_at, session.closed_at or session.last_seen_at)


@admin.register(FeedEvent)
class FeedEventAdmin(ReadOnlyAdmin):
    """What people were told, as it was numbered."""

    list_display = ("user", "seq", "event", "created_at")
    list_filter = ("event",)
    list_select_related = ("user",)
    show_full_result_count = False
    search_fields = ("user__username",)
    date_hierarchy = "created_at"
