"""What security keeps in the database: people, login sessions, services, blocks, drills.

The records, which are a matter of their own, come from `security.records`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.utils import timezone

from security.records import (
    Anchor,
    AuditEntry,
    Checkpoint,
    Kept,
    Mark,
    Record,
    RecordChanged,
    Violation,
)
from security.signals import announce_service_ended, announce_sessions_ended

__all__ = [
    "Anchor",
    "AuditEntry",
    "Block",
    "Checkpoint",
    "DrillRun",
    "Kept",
    "Mark",
    "Record",
    "RecordChanged",
    "RoomGrant",
    "ServiceAccount",
    "Session",
    "User",
    "Violation",
]

ENDING_FIELDS = frozenset({"password", "is_active", "is_staff"})


class User(AbstractUser):
    """A person. ``token_version`` is in every token (``tv``); raising it ends all of them.

    Saving a changed password, a deactivation or the loss of staff rights does so, wherever the
    change is made: in the admin, by a command, in a shell.
    """

    token_version = models.PositiveIntegerField(default=1)

    class Meta(AbstractUser.Meta):
        verbose_name = "person"
        verbose_name_plural = "people"

    def save(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Django's own arguments
        """Save, and end all logins of the person where the change calls for it."""
        with transaction.atomic():
            because = "" if self._state.adding else self._ending_change(kwargs)
            super().save(*args, **kwargs)
            if because:
                self.end_logins(because, timezone.now())

    def check_password(self, raw_password: str | None) -> bool:
        """As Django's, but a hash renewed with more rounds is no changed password."""

        def renew(password: str) -> None:
            User.objects.filter(pk=self.pk).update(password=make_password(password))

        return check_password(raw_password, self.password, renew)

    def get_session_auth_hash(self) -> str:
        """As Django's, and of the version: what ends all tokens ends the cookies of the admin."""
        return f"{super().get_session_auth_hash()}.{self.token_version}"

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """The same for keys that sign no more."""
        for each in super().get_session_auth_fallback_hash():
            yield f"{each}.{self.token_version}"

    def end_logins(self, because: str, now: datetime) -> None:
        """Make every token of the person worthless and end the sessions; sockets are told."""
        with transaction.atomic():
            User.objects.filter(pk=self.pk).update(token_version=F("token_version") + 1)
            self.token_version = User.objects.values_list("token_version", flat=True).get(
                pk=self.pk
            )
            Session.objects.filter(user_id=self.pk).end(because, now)
            announce_sessions_ended(self.pk, None, because=because)

    def _ending_change(self, save_arguments: dict[str, Any]) -> str:
        """Why this save ends all logins, or an empty text. Keeps the stored version: a stale
        object, such as a form that was open for long, must not bring an old one back."""
        named: Iterable[str] | None = save_arguments.get("update_fields")
        written = ENDING_FIELDS if named is None else ENDING_FIELDS & set(named)
        stored = User.objects.filter(pk=self.pk).first() if written else None
        if stored is None:
            return ""
        self.token_version = max(self.token_version, stored.token_version)
        changes = {
            "password": ("password_changed", stored.password != self.password),
            "is_active": ("deactivated", stored.is_active and not self.is_active),
            "is_staff": ("staff_rights_lost", stored.is_staff and not self.is_staff),
        }
        happened = (why for field, (why, true) in changes.items() if true and field in written)
        return next(happened, "")


class SessionQuerySet(models.QuerySet["Session"]):
    """Login sessions, and the verb that ends them."""

    def live(self, now: datetime) -> "SessionQuerySet":
        return self.filter(revoked_at=None, expires_at__gt=now)

    def end(self, because: str, now: datetime) -> int:
        """Revoke those not revoked yet; returns how many. The caller announces it."""
        return self.filter(revoked_at=None).update(revoked_at=now, revoked_because=because)


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

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = "login session"
        permissions = (("end_session", "Can end login sessions"),)
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
        permissions = (("switch_serviceaccount", "Can enable and disable engines and agents"),)
        ordering: ClassVar[list[str]] = ["kind", "name"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["kind", "name"], name="service_kind_name_unique"),
            models.CheckConstraint(
                condition=Q(kind__in=["engine", "agent"]), name="service_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class RoomGrant(models.Model):
    """A room in which an agent hears people, and may speak to those who are there."""

    account = models.ForeignKey(
        ServiceAccount,
        on_delete=models.CASCADE,
        related_name="grants",
        limit_choices_to={"kind": ServiceAccount.Kind.AGENT},
    )
    room = models.CharField(max_length=64, help_text="1 to 64 of a-z 0-9 _ -")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["account", "room"]
        permissions = (("grant_rooms", "Can grant rooms to agents"),)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["account", "room"], name="grant_once"),
            # The hub's own rooms have a colon in their names; nobody may be let into one.
            models.CheckConstraint(
                condition=~Q(room__contains=":") & ~Q(room=""), name="grant_no_room_of_the_hub"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} in {self.room}"


class BlockQuerySet(models.QuerySet["Block"]):
    """Blocks, and the verb that ends them."""

    def holding(self, now: datetime) -> "BlockQuerySet":
        return self.filter(until__gt=now)

    def lift(self, now: datetime) -> int:
        """End those that hold; returns how many."""
        return self.holding(now).update(until=now)


class Block(models.Model):
    """Somebody is kept out until a time, by staff: a person (``user:7``) or a service."""

    principal = models.CharField(max_length=96, db_index=True)
    until = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True)
    by = models.CharField(max_length=150, help_text="The member of staff")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = BlockQuerySet.as_manager()

    class Meta:
        permissions = (("block_principal", "Can block people and services for a time"),)
        ordering: ClassVar[list[str]] = ["-until"]

    def __str__(self) -> str:
        return f"{self.principal} until {self.until:%Y-%m-%d %H:%M}"


@receiver(post_delete, sender=User)
def _person_deleted(instance: User, **_facts: object) -> None:
    announce_sessions_ended(instance.pk, None, because="deleted")


@receiver(post_delete, sender=ServiceAccount)
def _service_deleted(instance: ServiceAccount, **_facts: object) -> None:
    announce_service_ended(instance.kind, instance.name, because="deleted")


@receiver([post_save, post_delete], sender=RoomGrant)
def _rooms_changed(instance: RoomGrant, **_facts: object) -> None:
    account = instance.account
    announce_service_ended(account.kind, account.name, because="rooms_changed")


class DrillRun(models.Model):
    """What a security drill found. ``report`` is its whole answer, as ``--json`` prints it."""

    at = models.DateTimeField(db_index=True)
    url = models.CharField(max_length=200)
    scenarios = models.PositiveIntegerField()
    gaps = models.PositiveIntegerField()
    report = models.JSONField()

    class Meta:
        verbose_name = "security drill"
        ordering: ClassVar[list[str]] = ["-at"]

    def __str__(self) -> str:
        found = f"{self.gaps} gaps" if self.gaps else "no gap"
        return f"{self.at:%Y-%m-%d %H:%M}: {self.scenarios} scenarios, {found}"
