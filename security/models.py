"""What security keeps in the database: people, login sessions, services, violations, audit.

Violations and audit entries are records: written once by their writer, never changed, and without
foreign keys, so that what they say outlives what they speak of.
"""

from typing import ClassVar, NoReturn

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

__all__ = ["AuditEntry", "ServiceAccount", "Session", "User", "Violation"]


class User(AbstractUser):
    """A person. ``token_version`` is in every token (``tv``); raising it ends all of them."""

    token_version = models.PositiveIntegerField(default=1)

    class Meta(AbstractUser.Meta):
        verbose_name = "person"
        verbose_name_plural = "people"


class Session(models.Model):
    """One login: the ``sid`` of its tokens. Holds a digest of the current refresh token's id only.

    ``kid`` names the master key that this session's secret is derived from, so dropping a master
    ends its sessions.
    """

    id = models.CharField(primary_key=True, max_length=40)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="login_sessions")
    kid = models.CharField(max_length=32)
    refresh_digest = models.CharField(max_length=64)
    previous_digest = models.CharField(max_length=64, blank=True, default="")
    rotated_at = models.DateTimeField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_because = models.CharField(max_length=32, blank=True, default="")
    ip = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        verbose_name = "login session"
        ordering: ClassVar[list[str]] = ["-created_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["user", "revoked_at"], name="session_of_user")
        ]

    def __str__(self) -> str:
        return f"{self.user} since {self.created_at:%Y-%m-%d %H:%M}"


class ServiceAccount(models.Model):
    """The account of an engine or an agent. Its secret is derived, never stored."""

    class Kind(models.TextChoices):
        ENGINE = "engine"
        AGENT = "agent"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    name = models.CharField(max_length=64)
    kid = models.CharField(max_length=32)
    key_version = models.PositiveIntegerField(default=1)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    rotated_at = models.DateTimeField(null=True, blank=True)
    last_token_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "engine or agent"
        verbose_name_plural = "engines and agents"
        ordering: ClassVar[list[str]] = ["kind", "name"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["kind", "name"], name="service_kind_name_unique"),
            models.CheckConstraint(
                condition=Q(kind__in=["engine", "agent"]), name="service_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class RecordChanged(TypeError):
    """Somebody asked the ORM to change or remove a record. Records are only ever appended."""

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(model)

    def __str__(self) -> str:
        return f"{self.model} rows are a record: they are appended, never changed or removed"


class RecordQuerySet(models.QuerySet["Record"]):
    """A query set that reads and appends only."""

    def update(self, **_kwargs: object) -> NoReturn:
        raise RecordChanged(self.model.__name__)

    def delete(self) -> NoReturn:
        raise RecordChanged(self.model.__name__)

    def bulk_update(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise RecordChanged(self.model.__name__)


class Record(models.Model):
    """A row that is written once. ``writer`` and the hashes form one chain per writing process."""

    at = models.DateTimeField(db_index=True)
    principal = models.CharField(max_length=96, blank=True, db_index=True)
    user_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    namespace = models.CharField(max_length=64, blank=True)
    sid_hash = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the socket's id")
    login_session = models.CharField(max_length=40, blank=True)
    ip = models.GenericIPAddressField(null=True, blank=True)
    detail = models.JSONField(default=dict, blank=True)
    writer = models.CharField(max_length=40, editable=False)
    prev_hash = models.CharField(max_length=64, editable=False)
    hash = models.CharField(max_length=64, editable=False)

    objects = RecordQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: object, **kwargs: object) -> None:
        """Append. Raises RecordChanged for a row that is stored already."""
        if not self._state.adding:
            raise RecordChanged(type(self).__name__)
        super().save(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    def delete(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise RecordChanged(type(self).__name__)


class Violation(Record):
    """A refusal, or the count of further ones of a kind. Never holds a payload or a secret."""

    class Severity(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"

    kind = models.CharField(max_length=40, db_index=True)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    event_type = models.CharField(max_length=64, blank=True)
    code = models.CharField(max_length=40, help_text="What the client was told")
    payload_sha256 = models.CharField(max_length=64, blank=True)
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar[list[str]] = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.kind} by {self.principal or 'nobody'}"


class AuditEntry(Record):
    """Something that was done and allowed: connects, state changes, tokens, staff actions."""

    action = models.CharField(max_length=64, db_index=True)
    target = models.CharField(max_length=128, blank=True, db_index=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering: ClassVar[list[str]] = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.action} by {self.principal or 'nobody'}"
