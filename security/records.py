"""The models of what is kept: violations and audit entries, and the marks that prove them whole.

Records are written once by their writer, never changed, and have no foreign keys, so that what they
say outlives what they speak of.
"""

from typing import Any, ClassVar, NoReturn

from django.db import models

__all__ = [
    "Anchor",
    "AuditEntry",
    "Checkpoint",
    "Kept",
    "Mark",
    "Record",
    "RecordChanged",
    "Violation",
]


class RecordChanged(TypeError):
    """Somebody asked the ORM to change or remove a record. Records are only ever appended."""

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(model)

    def __str__(self) -> str:
        return f"{self.model} rows are a record: they are appended, never changed or removed"


class KeptQuerySet(models.QuerySet["Kept"]):
    """A query set that reads and appends only."""

    def update(self, **_kwargs: object) -> NoReturn:
        raise RecordChanged(self.model.__name__)

    def delete(self) -> NoReturn:
        raise RecordChanged(self.model.__name__)

    def bulk_update(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise RecordChanged(self.model.__name__)


class Kept(models.Model):
    """A row that is appended and then kept as it is; triggers say the same to raw SQL."""

    objects = KeptQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: object, **kwargs: object) -> None:
        """Append. Raises RecordChanged for a row that is stored already."""
        if not self._state.adding:
            raise RecordChanged(type(self).__name__)
        super().save(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    def delete(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise RecordChanged(type(self).__name__)

    @classmethod
    def rows(cls) -> "models.QuerySet[Any]":
        """All rows, for code that reads several kinds of record alike."""
        return cls._default_manager.all()


class Record(Kept):
    """What was refused or done. ``writer`` and the hashes form one chain per writing process."""

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

    class Meta:
        abstract = True


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


class Mark(Kept):
    """A signed statement about a chain of records: up to which row it reached, with which hash.

    ``table`` is the name of the record's model. ``mac`` is made by ``security.anchors`` with a key
    derived from the master key ``kid``: whoever can write the database cannot make a mark.
    """

    table = models.CharField(max_length=16)
    writer = models.CharField(max_length=40)
    last_id = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    kid = models.CharField(max_length=32)
    mac = models.CharField(max_length=64)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.table} of {self.writer} up to row {self.last_id}"


class Anchor(Mark):
    """What a chain was at a time. ``closed``: its writer ended, and nothing may follow."""

    closed = models.BooleanField(default=False)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["table", "writer", "last_id"], name="anchor_of_chain")
        ]


class Checkpoint(Mark):
    """Where a chain begins since the rows up to here were exported and removed."""

    export_name = models.CharField(max_length=128)
    export_sha256 = models.CharField(max_length=64)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["table", "writer", "last_id"], name="checkpoint_of_chain")
        ]
