"""Builds in the admin: their stages, their jobs, what was built; bulk cancel and retry."""

import json
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, Max, Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from engine import dispatcher
from engine.admin.commands import ask_or_do
from engine.admin.parts import (
    ReadOnlyInline,
    Situated,
    bar,
    pretty,
    ran,
    table,
    time_between,
    waited,
)
from engine.models import Build, Job
from engine.outcome import Outcome
from engine.views import CURRENT, artifact_url, thumbnail_url
from security.refusals import Refused

__all__ = ["BuildAdmin"]


class JobInline(ReadOnlyInline):
    """The jobs of a build, in their order, also those that a retry replaced."""

    model = Job
    fk_name = "build"
    ordering = ("stage", "ordinal", "opening")
    fields = (
        "job_type",
        "state",
        "progress_shown",
        "attempt",
        "waited",
        "ran",
        "engine_session",
        "error_code",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> Any:  # noqa: ANN401 - Django's QuerySet of the inline
        rows = super().get_queryset(request)
        return rows.select_related("engine_session").defer("payload", "result")

    @admin.display(description="progress")
    def progress_shown(self, job: Job) -> SafeString:
        return bar(job.progress)

    @admin.display(description="waited")
    def waited(self, job: Job) -> str:
        return waited(job)

    @admin.display(description="ran")
    def ran(self, job: Job) -> str:
        return ran(job)


@admin.register(Build)
class BuildAdmin(Situated):
    """Builds, with their jobs and the built world."""

    list_display = (
        "world_name",
        "user",
        "state",
        "jobs_done",
        "took",
        "engine_name",
        "created_at",
        "id",
    )
    list_filter = ("state", "priority", "engine_name")
    list_select_related = ("user",)
    list_per_page = 50
    show_full_result_count = False  # counting a long table takes longer than showing its page
    search_fields = ("id", "world_name", "world_id", "user__username", "request_id")
    date_hierarchy = "created_at"
    readonly_fields = (
        "picture",
        "world_file",
        "jobs_done",
        "stages",
        "waited",
        "took",
        "specification",
    )
    fieldsets = (
        (None, {"fields": ("world_name", "user", "state", "jobs_done", "stages", "engine_name")}),
        ("Built", {"fields": ("picture", "world_file", "artifact_sha256", "artifact_attempt")}),
        ("Error", {"fields": ("error_code", "error_message", "cancel_requested", "opening")}),
        (
            "Times",
            {"fields": ("created_at", "started_at", "finished_at", "waited", "took")},
        ),
        ("Request", {"fields": ("id", "request_id", "priority", "world_sha256")}),
        ("Specification", {"classes": ("collapse",), "fields": ("specification",)}),
    )
    inlines: ClassVar[list[Any]] = [JobInline]
    actions = ("cancel_chosen", "retry_chosen")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Build]":
        """Without the specifications, which are large and shown on one page only."""
        return super().get_queryset(request).defer("world_text")

    # What staff may do.

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("engine.cancel_build")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("engine.retry_build")

    @admin.action(description="Cancel the builds chosen", permissions=["cancel"])
    def cancel_chosen(self, request: HttpRequest, builds: "QuerySet[Build]") -> HttpResponse | None:
        return ask_or_do(
            self,
            request,
            builds,
            title="Cancel builds",
            says="What waits fails at once, what an engine holds by its answer or lease.",
            record="staff_build_cancelled",
            decide=lambda build: dispatcher.cancel_build(build.user_id, build.pk, staff=True),
        )

    @admin.action(description="Try the failed builds chosen again", permissions=["retry"])
    def retry_chosen(self, request: HttpRequest, builds: "QuerySet[Build]") -> HttpResponse | None:
        return ask_or_do(
            self,
            request,
            builds,
            title="Try builds again",
            says="Each failed job gets a new one in its place; what was completed stays.",
            record="staff_build_retried",
            decide=_retry,
        )

    # What is shown.

    @admin.display(description="jobs")
    def jobs_done(self, build: Build) -> str:
        failed = f", {build.failed} failed" if build.failed else ""
        return f"{build.completed} of {build.total}{failed}"

    @admin.display(description="waited")
    def waited(self, build: Build) -> str:
        return time_between(build.created_at, build.started_at)

    @admin.display(description="took")
    def took(self, build: Build) -> str:
        return time_between(build.started_at, build.finished_at)

    @admin.display(description="stages")
    def stages(self, build: Build) -> SafeString:
        rows = (
            Job.objects.filter(CURRENT, build=build).order_by("stage").values("stage", "job_type")
        )
        done, failed = (Count("id", filter=Q(state=state)) for state in ("completed", "failed"))
        counted = rows.annotate(
            jobs=Count("id"),
            done=done,
            failed=failed,
            tries=Max("attempt"),
            first=Min("started_at"),
            last=Max("finished_at"),
        )
        heads = ("stage", "type", "jobs", "completed", "failed", "most attempts", "took")
        return table(heads, [_stage_row(dict(row)) for row in counted])

    @admin.display(description="3D file")
    def world_file(self, build: Build) -> SafeString | str:
        address = artifact_url(build)
        if address is None:
            return "-"
        return format_html('<a href="{}">{} bytes (.glb)</a>', address, build.artifact_size)

    @admin.display(description="picture")
    def picture(self, build: Build) -> SafeString | str:
        address = thumbnail_url(build)
        if address is None:
            return "-"
        text = f"Picture of {build.world_name}"
        return format_html('<img src="{}" alt="{}" width="320" height="200">', address, text)

    @admin.display(description="specification")
    def specification(self, build: Build) -> SafeString:
        return pretty(json.loads(build.world_text))


def _stage_row(stage: dict[str, Any]) -> tuple[object, ...]:
    ended: datetime | None = stage["last"]
    open_jobs = stage["jobs"] > stage["done"] + stage["failed"]
    took = time_between(stage["first"], None if open_jobs else ended)
    names = ("stage", "job_type", "jobs", "done", "failed", "tries")
    return (*(stage[name] for name in names), took)


def _retry(build: Build) -> Outcome:
    """Any failed job of the latest opening stands for all of them."""
    failed = Job.objects.filter(build=build, opening=build.opening, state="failed")
    job_id = failed.values_list("id", flat=True).first()
    if job_id is None:
        raise Refused("conflict", reason="no job of it failed")
    return dispatcher.retry_job(build.user_id, job_id, staff=True)
