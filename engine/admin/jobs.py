"""Jobs in the admin: attempts, errors and times; cancelled or tried again by many."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from engine import dispatcher
from engine.admin.attempts import attempts_of, attempts_shown, timeline
from engine.admin.commands import ask_or_do
from engine.admin.parts import ReadOnlyInline, Situated, bar, pretty, ran, waited
from engine.clock import database_now
from engine.models import Job, JobEvent

__all__ = ["JobAdmin"]


class JobEventInline(ReadOnlyInline):
    """The history of a job, each step with the time it came."""

    model = JobEvent
    show_change_link = False
    fields = ("at", "event", "from_state", "to_state", "attempt", "engine", "detail")
    readonly_fields = fields
    verbose_name_plural = "history"


@admin.register(Job)
class JobAdmin(Situated):
    """Jobs, with their history."""

    list_display = (
        "job_type",
        "state",
        "progress",
        "waited",
        "ran",
        "attempt",
        "engine",
        "world",
        "queued_at",
        "id",
    )
    list_filter = ("state", "job_type", "priority", "finish")
    list_select_related = ("build", "engine_session")
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("id", "build__id", "attempt_id", "error_code")
    date_hierarchy = "queued_at"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "job_type",
                    "build",
                    "stage",
                    "state",
                    "progress_shown",
                    "timeline",
                    "attempts",
                )
            },
        ),
        ("Error", {"fields": ("error_code", "error_message", "cancel_requested", "losses")}),
        (
            "Times",
            {
                "fields": (
                    "queued_at",
                    "dispatched_at",
                    "started_at",
                    "finished_at",
                    "waited",
                    "ran",
                )
            },
        ),
        (
            "Dispatch",
            {
                "fields": (
                    "id",
                    "attempt",
                    "attempt_id",
                    "engine_session",
                    "ready",
                    "not_before",
                    "lease_expires_at",
                    "run_until",
                    "priority",
                    "finish",
                    "opening",
                    "retry_of",
                )
            },
        ),
        ("Data", {"fields": ("payload_shown", "result_shown")}),
    )
    readonly_fields = (
        "progress_shown",
        "timeline",
        "attempts",
        "waited",
        "ran",
        "payload_shown",
        "result_shown",
    )
    inlines: ClassVar[list[Any]] = [JobEventInline]
    actions = ("cancel_chosen", "retry_chosen")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Job]":
        """Without what is large: payloads, results, specifications."""
        return super().get_queryset(request).defer("payload", "result", "build__world_text")

    # What staff may do.

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("engine.cancel_build")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("engine.retry_build")

    @admin.action(description="Cancel the jobs chosen, and their builds", permissions=["cancel"])
    def cancel_chosen(self, request: HttpRequest, jobs: "QuerySet[Job]") -> HttpResponse | None:
        return ask_or_do(
            self,
            request,
            jobs,
            title="Cancel jobs",
            says="A cancelled job fails its build, and with it the rest of its jobs.",
            record="staff_job_cancelled",
            decide=lambda job: dispatcher.cancel_job(job.build.user_id, job.pk, staff=True),
        )

    @admin.action(description="Try the builds of the failed jobs again", permissions=["retry"])
    def retry_chosen(self, request: HttpRequest, jobs: "QuerySet[Job]") -> HttpResponse | None:
        return ask_or_do(
            self,
            request,
            jobs,
            title="Try jobs again",
            says="The build is opened again, with a new job for each that failed.",
            record="staff_job_retried",
            decide=lambda job: dispatcher.retry_job(job.build.user_id, job.pk, staff=True),
        )

    # What is shown.

    @admin.display(description="progress", ordering="progress")
    def progress_shown(self, job: Job) -> SafeString:
        return bar(job.progress)

    @admin.display(description="engine", ordering="engine_session__name")
    def engine(self, job: Job) -> str:
        return job.engine_session.name if job.engine_session else "-"

    @admin.display(description="world", ordering="build")
    def world(self, job: Job) -> str:
        return job.build.world_name

    @admin.display(description="waited")
    def waited(self, job: Job) -> str:
        return waited(job)

    @admin.display(description="ran")
    def ran(self, job: Job) -> str:
        return ran(job)

    @admin.display(description="timeline")
    def timeline(self, job: Job) -> SafeString | str:
        return timeline(attempts_of(job), database_now())

    @admin.display(description="attempts")
    def attempts(self, job: Job) -> SafeString | str:
        return attempts_shown(attempts_of(job))

    @admin.display(description="payload")
    def payload_shown(self, job: Job) -> SafeString:
        return pretty(job.payload)

    @admin.display(description="result")
    def result_shown(self, job: Job) -> SafeString:
        return pretty(job.result)
