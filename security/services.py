"""Accounts of engines and agents: their secrets are derived from a master key and never stored.

A secret is shown once, when an account is added or rotated. Rotation and disabling end the tokens
and, through the signal, the live sockets of the service::

    ServiceRefused (ValueError)
    |-- BadServiceName
    |-- ServiceExists
    '-- ServiceUnknown
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from security.models import ServiceAccount
from security.signals import announce_service_ended
from security.signatures import service_secret, to_base64url

__all__ = [
    "BadServiceName",
    "NewSecret",
    "ServiceExists",
    "ServiceRefused",
    "ServiceUnknown",
    "accounts",
    "add",
    "disable",
    "enable",
    "rotate",
    "secret_of_account",
]

NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ServiceRefused(ValueError):
    """Something about an engine's or agent's account that cannot be."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(kind, name)


class BadServiceName(ServiceRefused):
    """The name or the kind is none that a service can have."""

    def __str__(self) -> str:
        return (
            f"{self.kind}:{self.name} is no possible service: the kind is engine or agent, the "
            "name 1 to 64 characters of A-Z, a-z, 0-9, '_', '.' and '-'."
        )


class ServiceExists(ServiceRefused):
    """There is one of that kind and name already."""

    def __str__(self) -> str:
        return f"There is already a service {self.kind}:{self.name}; rotate gives it a new secret."


class ServiceUnknown(ServiceRefused):
    """There is none of that kind and name."""

    def __str__(self) -> str:
        return f"There is no service {self.kind}:{self.name}."


@dataclass(frozen=True, slots=True)
class NewSecret:
    """An account and its secret as base64url, to be shown once."""

    account: ServiceAccount
    secret: str

    def __repr__(self) -> str:
        return f"NewSecret({self.account}, <secret>)"


def add(kind: str, name: str) -> NewSecret:
    """Register an engine or agent. Raises BadServiceName, ServiceExists."""
    if kind not in ServiceAccount.Kind.values or not NAME.fullmatch(name):
        raise BadServiceName(kind, name)
    try:
        with transaction.atomic():
            account = ServiceAccount.objects.create(
                kind=kind, name=name, kid=settings.KEYS.master.signing.kid
            )
    except IntegrityError:
        raise ServiceExists(kind, name) from None
    return _shown(account)


def rotate(kind: str, name: str, now: float) -> NewSecret:
    """Replace the secret, by the master key that signs now. Raises ServiceUnknown.

    ``now`` is in seconds since the epoch. The old secret and its tokens are worthless at once.
    """
    with transaction.atomic():
        account = _locked(kind, name)
        account.key_version += 1
        account.kid = settings.KEYS.master.signing.kid
        account.rotated_at = datetime.fromtimestamp(now, UTC)
        account.save(update_fields=["key_version", "kid", "rotated_at"])
        announce_service_ended(kind, name, because="rotated")
    return _shown(account)


def enable(kind: str, name: str) -> ServiceAccount:
    """Let the service in again. Raises ServiceUnknown."""
    return _switch(kind, name, enabled=True)


def disable(kind: str, name: str) -> ServiceAccount:
    """Shut the service out, with its tokens and sockets. Raises ServiceUnknown."""
    return _switch(kind, name, enabled=False)


def accounts(kind: str = "") -> QuerySet[ServiceAccount]:
    """All services, or those of one kind, by kind and name."""
    return ServiceAccount.objects.filter(**({"kind": kind} if kind else {}))


def secret_of_account(account: ServiceAccount) -> bytes | None:
    """The 32-byte secret; None where its master key was dropped, so that nothing can match it."""
    master = settings.KEYS.master.get(account.kid)
    if master is None:
        return None
    return service_secret(
        master.secret,
        kid=account.kid,
        kind=account.kind,
        name=account.name,
        key_version=account.key_version,
    )


def _switch(kind: str, name: str, *, enabled: bool) -> ServiceAccount:
    with transaction.atomic():
        account = _locked(kind, name)
        account.enabled = enabled
        account.save(update_fields=["enabled"])
        if not enabled:
            announce_service_ended(kind, name, because="disabled")
    return account


def _locked(kind: str, name: str) -> ServiceAccount:
    account = ServiceAccount.objects.select_for_update().filter(kind=kind, name=name).first()
    if account is None:
        raise ServiceUnknown(kind, name)
    return account


def _shown(account: ServiceAccount) -> NewSecret:
    secret = secret_of_account(account)
    if secret is None:  # both callers have just stored the signing key's own name
        raise AssertionError(account.kid)
    return NewSecret(account, to_base64url(secret))
