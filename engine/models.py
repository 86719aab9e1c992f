"""What the engine app keeps: builds and their jobs, the people's feeds, the engines' connections.

Rules that the database can keep, it keeps: the constraints below derive from `engine.states`, and
so do the triggers of the first migration, which refuse an illegal move of a job even by raw SQL.
Rows are written by `engine.dispatcher` and `engine.feed` only.
"""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from engine.states import FINAL, LIVE, BuildState, State, build_choices, choices
from engine.worldspec import JobType

__all__ = [
    "FINAL_STATES",
    "LIVE_STATES",
    "Build",
    "DispatchControl",
    "EngineSession",
    "FeedCounter",
    "FeedEvent",
    "Job",
    "JobEvent",
    "Priority",
]

# Plain text: enum members would be written into migrations as imports of engine.states.
STATES = [state.value for state in State]
BUILD_STATES = [state.value for state in BuildState]
FINAL_STATES = sorted(state.value for state in FINAL)
LIVE_STATES = sorted(state.value for state in LIVE)
JOB_TYPES = [job_type.value for job_type in JobType]
QUEUED, COMPLETED, FAILED = State.QUEUED.value, State.COMPLETED.value, State.FAILED.value


class Priority(models.IntegerChoices):
    """How urgent a build is; the wire says the lower-case names. Only staff may say high."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


def artifact_path(build: "Build", _filename: str) -> str:
    """Place an artifact by the attempt that made it, so that a newer one never overwrites it."""
    return f"artifacts/{build.id}/{build.artifact_attempt}.glb"


def thumbnail_path(build: "Build", _filename: str) -> str:
    """As `artifact_path`, for the picture."""
    return f"artifacts/{build.id}/{build.thumbnail_attempt}.png"


class Build(models.Model):
    """One world on its way from a specification to an artifact.

    `opening` counts how often it was opened: once, and again by each retry. Of the jobs of earlier
    openings only the completed ones still count.
    """

    id = models.CharField(primary_key=True, max_length=24)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="builds"
    )
    request_id = models.CharField(  # noqa: DJ001 - null is "none given", which is never unique
        max_length=64, null=True, blank=True, help_text="The person's own name for the request"
    )
    world_text = models.TextField(help_text="The specification as compact JSON")
    world_sha256 = models.CharField(max_length=64)
    world_id = models.CharField(max_length=64)
    world_name = models.CharField(max_length=64)
    scene_id = models.CharField(max_length=64)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    state = models.CharField(max_length=10, choices=build_choices(), default=QUEUED)
    opening = models.PositiveIntegerField(default=1)
    cancel_requested = models.BooleanField(default=False)
    total = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    engine_name = models.CharField(
        max_length=64, blank=True, default="", help_text="The engine this build stays with"
    )
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_message = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(db_index=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    artifact = models.FileField(upload_to=artifact_path, blank=True, default="", max_length=120)
    artifact_sha256 = models.CharField(max_length=64, blank=True, default="")
    artifact_size = models.PositiveBigIntegerField(default=0)
    artifact_attempt = models.CharField(max_length=24, blank=True, default="")
    thumbnail = models.FileField(upload_to=thumbnail_path, blank=True, default="", max_length=120)
    thumbnail_sha256 = models.CharField(max_length=64, blank=True, default="")
    thumbnail_size = models.PositiveBigIntegerField(default=0)
    thumbnail_attempt = models.CharField(max_length=24, blank=True, default="")

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at", "-id"]
        permissions = (
            ("cancel_build", "Can cancel anybody's builds"),
            ("retry_build", "Can try anybody's failed builds again"),
        )
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "-priority", "created_at"], name="build_queue"),
            models.Index(fields=["user", "-created_at"], name="build_of_user"),
            models.Index(fields=["user", "state"], name="build_open_of_user"),
            models.Index(  # a person's quota, out of the index alone
                fields=["user", "artifact_size", "thumbnail_size"],
                condition=Q(artifact_size__gt=0),
                name="build_kept_bytes",
            ),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "request_id"], name="build_request_unique"),
            models.CheckConstraint(condition=Q(state__in=BUILD_STATES), name="build_state_known"),
            models.CheckConstraint(
                condition=Q(priority__in=Priority.values), name="build_priority_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=FINAL_STATES, finished_at__isnull=False)
                | (~Q(state__in=FINAL_STATES) & Q(finished_at__isnull=True)),
                name="build_finished_at_iff_final",
            ),
            models.CheckConstraint(
                condition=Q(total__gte=F("completed") + F("failed")), name="build_counts_fit"
            ),
            models.CheckConstraint(
                condition=~Q(state=COMPLETED) | Q(completed=F("total")),
                name="build_completed_has_all_jobs",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.world_name} ({self.id})"


class EngineSession(models.Model):
    """One connection of an engine that has proved its secret. Kept after it closed."""

    class State(models.TextChoices):
        """What staff see. Busy means that no more jobs fit; silent that its heartbeat is late."""

        READY = "ready"
        BUSY = "busy"
        DRAINING = "draining"
        SILENT = "silent"
        LOST = "lost"

    id = models.CharField(primary_key=True, max_length=24)
    name = models.CharField(max_length=64)
    node = models.CharField(max_length=64, help_text="The process that holds the socket")
    sid_hash = models.CharField(max_length=64, help_text="SHA-256 of the socket's id")
    state = models.CharField(max_length=8, choices=State.choices, default=State.READY)
    draining = models.BooleanField(default=False, help_text="It said that it takes no new jobs")
    capacity = models.PositiveIntegerField(default=0, help_text="Zero until it says engine_ready")
    job_types = models.JSONField(default=list)
    version = models.CharField(max_length=64, blank=True, default="")
    connected_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        verbose_name = "engine connection"
        ordering: ClassVar[list[str]] = ["-connected_at"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(closed_at__isnull=True), name="engine_open_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["ready", "busy", "draining", "silent", "lost"]),
                name="engine_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="lost", closed_at__isnull=False)
                | (~Q(state="lost") & Q(closed_at__isnull=True)),
                name="engine_closed_at_iff_lost",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"

    def state_with(self, live: int) -> str:
        """Return the state that goes with so many live jobs; the stored one may lag behind."""
        if self.state in {self.State.SILENT, self.State.LOST}:
            return self.state
        if self.draining:
            return self.State.DRAINING.value
        full = 0 < self.capacity <= live
        return (self.State.BUSY if full else self.State.READY).value


class Job(models.Model):
    """One piece of work for an engine. Its moves are `engine.states.TABLE`, and no others.

    `ready`: the stage has come, so a queued job may be dispatched from `not_before` on.
    `attempt_id` and `engine_session` name the latest attempt, also after it ended, so that a late
    report can be told what it is late for. A live job's lease never ends after `run_until`.
    """

    id = models.CharField(primary_key=True, max_length=24)
    build = models.ForeignKey(Build, on_delete=models.CASCADE, related_name="jobs")
    opening = models.PositiveIntegerField(default=1, help_text="The build's opening that made it")
    job_type = models.CharField(max_length=16, choices=[(name, name) for name in JOB_TYPES])
    stage = models.PositiveSmallIntegerField()
    ordinal = models.PositiveIntegerField(default=0)
    payload = models.JSONField()
    finish = models.BooleanField(default=False, help_text="The last job, which brings the artifact")
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    state = models.CharField(max_length=10, choices=choices(), default=QUEUED)
    ready = models.BooleanField(default=False)
    not_before = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    attempt_id = models.CharField(max_length=24, blank=True, default="")
    engine_session = models.ForeignKey(
        EngineSession,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="jobs",
        db_index=False,  # `job_of_engine` serves, and leaves out what has ended
    )
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    run_until = models.DateTimeField(null=True, blank=True)
    progress = models.PositiveSmallIntegerField(default=0)
    progress_sent_at = models.DateTimeField(null=True, blank=True)
    losses = models.PositiveIntegerField(default=0, help_text="Attempts that ended with an engine")
    cancel_requested = models.BooleanField(default=False)
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_message = models.CharField(max_length=500, blank=True, default="")
    result = models.JSONField(null=True, blank=True)
    result_digest = models.CharField(max_length=64, blank=True, default="")
    retry_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries"
    )
    queued_at = models.DateTimeField(db_index=True)
    dispatched_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["build", "stage", "ordinal"]
        # Each index begins with what keeps finished jobs out of it or within one build.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "-priority", "stage", "queued_at"], name="job_queue"),
            models.Index(fields=["build", "state", "ready", "stage", "ordinal"], name="job_stage"),
            models.Index(fields=["state", "lease_expires_at"], name="job_lease"),
            models.Index(fields=["engine_session", "state"], name="job_of_engine"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(state__in=STATES), name="job_state_known"),
            models.CheckConstraint(condition=Q(job_type__in=JOB_TYPES), name="job_type_known"),
            models.CheckConstraint(condition=Q(progress__lte=100), name="job_progress_percent"),
            models.CheckConstraint(
                condition=Q(state__in=FINAL_STATES, finished_at__isnull=False)
                | (~Q(state__in=FINAL_STATES) & Q(finished_at__isnull=True)),
                name="job_finished_at_iff_final",
            ),
            models.CheckConstraint(
                condition=Q(state__in=LIVE_STATES, lease_expires_at__isnull=False)
                | (~Q(state__in=LIVE_STATES) & Q(lease_expires_at__isnull=True)),
                name="job_lease_iff_live",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=LIVE_STATES) | (~Q(attempt_id="") & Q(attempt__gte=1)),
                name="job_live_has_attempt",
            ),
            models.CheckConstraint(
                condition=~Q(state=FAILED) | ~Q(error_code=""), name="job_failed_has_code"
            ),
            models.UniqueConstraint(
                fields=["attempt_id"], condition=~Q(attempt_id=""), name="job_attempt_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_type} ({self.id})"


class JobEvent(models.Model):
    """The twin of each move of a job, written in the same transaction: its history."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    event = models.CharField(max_length=16)
    from_state = models.CharField(max_length=10, blank=True, default="")
    to_state = models.CharField(max_length=10)
    attempt = models.PositiveIntegerField(default=0)
    attempt_id = models.CharField(max_length=24, blank=True, default="")
    engine = models.CharField(max_length=64, blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name = "job event"
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.event}: {self.from_state or 'new'} -> {self.to_state}"


class DispatchControl(models.Model):
    """Whether jobs are given to engines. One row, which is there only once somebody paused.

    While dispatch is paused, what engines hold goes on, and what people submit waits.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    paused = models.BooleanField(default=False)
    changed_at = models.DateTimeField()
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        permissions = (("pause_dispatch", "Can pause and resume the dispatch of jobs"),)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(id=1), name="dispatch_control_one_row")
        ]

    def __str__(self) -> str:
        return "paused" if self.paused else "running"


class FeedCounter(models.Model):
    """One person's place in their feed: the latest number, and the oldest that is still kept."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="feed_counter",
    )
    epoch = models.CharField(max_length=24)
    head = models.PositiveBigIntegerField(default=0)
    oldest = models.PositiveBigIntegerField(default=1, help_text="The first number still kept")

    def __str__(self) -> str:
        return f"feed of {self.user_id} at {self.head}"


class FeedEvent(models.Model):
    """One event for one person, as the exact text of its data. Kept until it is pruned."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="feed_events"
    )
    seq = models.PositiveBigIntegerField()
    epoch = models.CharField(max_length=24)
    event = models.CharField(max_length=32)
    body = models.TextField()
    dedupe_key = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = "feed event"
        ordering: ClassVar[list[str]] = ["user", "seq"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "seq"], name="feed_seq_unique"),
            models.UniqueConstraint(
                fields=["user", "dedupe_key"],
                condition=~Q(dedupe_key=""),
                name="feed_dedupe_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.event}"
