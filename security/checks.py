"""System checks: what the hub's settings must not be. Each id is explained in docs/checks.md.

Errors keep every command from running, ``serve`` among them; warnings are only told. Checks of the
database run with ``migrate`` and ``check --database default``, those of a deployment with
``check --deploy``.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name
from django.db import DatabaseError

from security.addresses import networks
from security.conf import BadSetting, HubSettings
from security.keys import KEY_VARIABLES, BadKey, Keys, ReusedKey, WeakKey, faults
from security.models import ServiceAccount
from security.tokens import RingBackend

__all__ = ["check_deployment", "check_limits", "check_service_keys", "check_settings", "see"]

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1", "testserver", ".localhost"})
ORIGIN: Final = re.compile(
    r"(https?)://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?"
)
MEMORY_LAYER: Final = "channels.layers.InMemoryChannelLayer"
SQLITE_OPTIONS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "transaction_mode": lambda value: value in {"IMMEDIATE", "EXCLUSIVE"},
    "timeout": lambda value: isinstance(value, (int, float)) and value >= 5,  # noqa: PLR2004 - Django's default, in seconds
    "init_command": lambda value: "journal_mode=WAL" in str(value).replace(" ", ""),
}
KEY_IDS: Final[Mapping[type[BadKey], str]] = {WeakKey: "hub.E002", ReusedKey: "hub.E003"}

ORDERED: Final[Sequence[tuple[str, ...]]] = (
    ("heartbeat_interval_s", "inactive_after_s", "disconnect_after_s"),
    ("access_token_s", "refresh_token_s", "session_life_s"),
    ("access_token_s", "socket_life_s"),
    ("action_payload", "world_payload", "max_payload", "byte_burst"),
    ("http_body", "artifact_body", "artifact_bytes"),
    ("violation_rows_per_minute", "violation_queue"),
    ("drift_ms", "service_drift_ms"),
)
"""Limits that must not fall from left to right. A whole frame, for one, must fit the byte burst."""

POSITIVE: Final = (
    *("max_payload", "action_payload", "world_payload", "http_body", "connect_deadline_s"),
    *("sockets_per_user", "unauthenticated_per_ip", "sockets_per_process", "handshakes_per_s"),
    *("handshake_burst", "namespaces_per_socket", "messages_per_s", "message_burst"),
    *("bytes_per_s", "engine_messages_per_s", "engine_message_burst", "login_failures"),
    *("login_failures_per_ip", "violation_budget", "drift_ms", "nonce_capacity"),
    *("outbox_messages", "outbox_bytes", "write_deadline_s", "inbox_messages"),
    *("ping_interval_s", "ping_timeout_s", "heartbeat_interval_s", "engine_heartbeat_s"),
    *("access_token_s", "service_token_s", "violation_queue", "violation_rows_per_minute"),
)
"""Limits at which nothing works if they are zero."""


def see(check_id: str) -> str:
    """The hint of every message: where its id is explained."""
    return f"See docs/checks.md#{check_id.lower().replace('.', '')}"


@register(Tags.security)
def check_settings(**_asked: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """Keys, token issuer, hosts, origins, proxies, workers and the database's options."""
    return [
        message
        for check in (_keys, _issuer, _debug, _origins, _proxies, _workers, _sqlite)
        for message in check()
    ]


@register(Tags.security)
def check_limits(**_asked: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """Limits that contradict each other."""
    return [*_misordered(settings.HUB), *_zero(settings.HUB)]


@register(Tags.database)
def check_service_keys(
    *,
    databases: Sequence[str] | None = None,
    **_asked: Any,  # noqa: ANN401 - Django's signature
) -> list[CheckMessage]:
    """Services whose secret comes from a master key that is no longer there."""
    if not databases:
        return []
    try:
        lost = [
            str(account)
            for account in ServiceAccount.objects.filter(enabled=True)
            if settings.KEYS.master.get(account.kid) is None
        ]
    except DatabaseError:  # before the first migration
        return []
    if not lost:
        return []
    names = ", ".join(lost)
    return [_warning("hub.W013", f"Services with a secret of a dropped master key: {names}.")]


@register(Tags.security, deploy=True)
def check_deployment(**_asked: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """What may be so on a developer's machine only."""
    messages = []
    if not any(os.environ.get(name) for name in KEY_VARIABLES):
        messages.append(_warning("hub.W014", "The hub runs with development keys."))
    if settings.HUB.allowed_origins and not settings.HUB.trusted_proxies:
        messages.append(
            _warning("hub.W016", "Pages have another origin than the hub, but no proxy is trusted.")
        )
    plain = [origin for origin in settings.HUB.allowed_origins if origin.startswith("http://")]
    if plain:
        messages.append(
            _warning("hub.W015", f"Pages without encryption may connect: {', '.join(plain)}.")
        )
    return messages


# One fault each.


def _keys() -> Iterator[CheckMessage]:
    keys = getattr(settings, "KEYS", None)
    if not isinstance(keys, Keys):
        yield _error("hub.E001", "settings.KEYS must be what security.keys.load_keys returns.")
        return
    for fault in faults(keys):
        yield _error(KEY_IDS.get(type(fault), "hub.E001"), str(fault))
    if keys.django != settings.SECRET_KEY:
        yield _error("hub.E001", "SECRET_KEY must be the one of settings.KEYS.")


def _issuer() -> Iterator[CheckMessage]:
    if not RingBackend().issuer:
        yield _error("hub.E004", "Tokens have no issuer, so those of any other site are taken.")


def _debug() -> Iterator[CheckMessage]:
    public = sorted(set(settings.ALLOWED_HOSTS) - LOCAL)
    if settings.DEBUG and public:
        yield _error("hub.E005", f"Debug pages would be shown to {', '.join(public)}.")


def _workers() -> Iterator[CheckMessage]:
    backend = settings.CHANNEL_LAYERS["default"]["BACKEND"]
    wanted = os.environ.get("WEB_CONCURRENCY", "")
    if backend == MEMORY_LAYER and wanted not in {"", "0", "1"}:
        message = f"WEB_CONCURRENCY={wanted} processes would each have state of their own."
        yield _error("hub.E006", message)


def _origins() -> Iterator[CheckMessage]:
    for origin in settings.HUB.allowed_origins:
        if not ORIGIN.fullmatch(origin):
            yield _error("hub.E007", f"HUB_ALLOWED_ORIGINS: {origin!r} is no origin.")


def _proxies() -> Iterator[CheckMessage]:
    try:
        trusted = networks(settings.HUB.trusted_proxies)
    except BadSetting as fault:
        yield _error("hub.E008", str(fault))
        return
    if any(network.prefixlen == 0 for network in trusted):
        yield _error("hub.E009", "HUB_TRUSTED_PROXIES trusts everybody, so any address is a claim.")


def _misordered(limits: HubSettings) -> Iterator[CheckMessage]:
    for names in ORDERED:
        for lower, higher in pairwise(names):
            if getattr(limits, lower) > getattr(limits, higher):
                yield _warning(
                    "hub.W010",
                    f"HUB_{lower.upper()} ({getattr(limits, lower):g}) must not be above "
                    f"HUB_{higher.upper()} ({getattr(limits, higher):g}).",
                )


def _zero(limits: HubSettings) -> Iterator[CheckMessage]:
    for name in POSITIVE:
        if getattr(limits, name) == 0:
            yield _error("hub.E011", f"HUB_{name.upper()} must be above zero.")


def _sqlite() -> Iterator[CheckMessage]:
    database = settings.DATABASES["default"]
    if not database["ENGINE"].endswith("sqlite3"):
        return
    options = database.get("OPTIONS", {})
    absent = [name for name, holds in SQLITE_OPTIONS.items() if not holds(options.get(name))]
    if absent:
        names = ", ".join(absent)
        yield _warning("hub.W012", f"SQLite lacks the options that let several write: {names}.")


def _error(check_id: str, message: str) -> CheckMessage:
    return Error(message, hint=see(check_id), id=check_id)


def _warning(check_id: str, message: str) -> CheckMessage:
    return Warning(message, hint=see(check_id), id=check_id)
