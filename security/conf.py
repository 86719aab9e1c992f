"""Every number of the hub, in one typed class; nowhere else is a limit written down.

Each field can be set by the environment variable ``HUB_<NAME>``. Units are part of the name or of
the field's ``unit``. Relations between the numbers are system checks (``security.checks``).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from django.conf import settings

__all__ = ["BadSetting", "HubSettings", "hub"]

AuditScope = Literal["state", "all", "none"]

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})


class BadSetting(ValueError):
    """An environment variable holds something that its limit cannot be."""

    def __init__(self, variable: str, value: str, expected: str) -> None:
        self.variable, self.value, self.expected = variable, value, expected
        super().__init__(variable, value, expected)

    def __str__(self) -> str:
        return f"{self.variable} must be {self.expected}, not {self.value[:80]!r}"


def limit(default: Any, unit: str, doc: str) -> Any:  # noqa: ANN401 - stands for any field's type, as dataclasses.field does
    """A field with its unit and its meaning, so that documentation can be made from the class."""
    return field(default=default, metadata={"unit": unit, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """The limits of the hub. Defaults are the design's; sources stand in docs/security.md."""

    # -- frames and payloads
    max_payload: int = limit(1_000_000, "bytes", "One frame or one polling body.")
    action_payload: int = limit(8 * 1024, "bytes", "Payload text of an interaction.")
    world_payload: int = limit(512 * 1024, "bytes", "Payload text of generate_world.")
    http_body: int = limit(64 * 1024, "bytes", "Body of an API request.")
    artifact_body: int = limit(32 * 1024 * 1024, "bytes", "Body of an artifact upload.")

    # -- connections
    connect_deadline_s: float = limit(5.0, "seconds", "From open to the first joined namespace.")
    sockets_per_user: int = limit(8, "sockets", "Live sockets of one person, or service.")
    unauthenticated_per_ip: int = limit(16, "sockets", "Sockets of one address without CONNECT.")
    sockets_per_process: int = limit(20_000, "sockets", "Live sockets of one process.")
    namespaces_per_socket: int = limit(4, "namespaces", "Namespaces joined on one connection.")
    rooms_per_socket: int = limit(16, "rooms", "Rooms joined by one socket.")
    handshakes_per_s: float = limit(50.0, "per second", "New connections of one address.")
    handshake_burst: int = limit(200, "connections", "Burst of new connections of one address.")

    # -- rates
    messages_per_s: float = limit(50.0, "per second", "Messages of one socket.")
    message_burst: int = limit(100, "messages", "Burst of messages of one socket.")
    bytes_per_s: float = limit(256 * 1024.0, "bytes per second", "Bytes of one socket.")
    byte_burst: int = limit(2_000_000, "bytes", "Burst of bytes of one socket.")
    engine_messages_per_s: float = limit(1_000.0, "per second", "Messages of one engine.")
    engine_message_burst: int = limit(2_000, "messages", "Burst of messages of one engine.")
    agent_message: int = limit(500, "characters", "Message of one agent_update.")
    agent_updates_per_minute: float = limit(12.0, "per minute", "Messages, agent to one person.")
    agent_update_burst: int = limit(4, "messages", "Burst of messages, agent to one person.")
    login_failures: int = limit(10, "per minute", "Failed logins of one (name, address).")
    login_failures_per_ip: int = limit(60, "per minute", "Failed logins of one address.")

    # -- violations
    violation_budget: int = limit(10, "points per 60 s", "Then the socket and its session rest.")
    penalty_s: float = limit(60.0, "seconds", "How long a spent budget keeps a session out.")

    # -- windows and nonces
    drift_ms: int = limit(15_000, "ms", "Window of a person's signed action, either side.")
    service_drift_ms: int = limit(30_000, "ms", "Window of an engine's or agent's message.")
    nonce_grace_ms: int = limit(5_000, "ms", "A nonce is kept until ts + drift + this.")
    nonce_capacity: int = limit(1_000_000, "nonces", "Live nonces of a process; full refuses.")

    # -- outboxes
    outbox_messages: int = limit(256, "messages", "Unsent messages of one socket.")
    outbox_bytes: int = limit(1024 * 1024, "bytes", "Unsent bytes of one socket.")
    write_deadline_s: float = limit(10.0, "seconds", "Longest wait for a reader.")
    inbox_messages: int = limit(256, "messages", "Received messages waiting for a handler.")

    # -- heartbeats
    ping_interval_s: float = limit(25.0, "seconds", "Engine.IO ping interval.")
    ping_timeout_s: float = limit(20.0, "seconds", "Engine.IO pong deadline.")
    heartbeat_interval_s: float = limit(10.0, "seconds", "Heartbeat a client is asked for.")
    inactive_after_s: float = limit(30.0, "seconds", "Without heartbeat: shown inactive.")
    disconnect_after_s: float = limit(90.0, "seconds", "Without heartbeat: closed with 4408.")
    engine_heartbeat_s: float = limit(3.0, "seconds", "Heartbeat an engine is asked for.")

    # -- tokens and sessions
    access_token_s: int = limit(300, "seconds", "Life of a person's access token.")
    service_token_s: int = limit(3_600, "seconds", "Life of a service's token.")
    socket_life_s: int = limit(28_800, "seconds", "Longest life of a socket.")
    refresh_token_s: int = limit(86_400, "seconds", "Life of a refresh token.")
    session_life_s: int = limit(1_209_600, "seconds", "Longest life of a login session.")

    # -- jobs
    builds_in_flight: int = limit(4, "builds", "Unfinished builds of one person.")
    queued_jobs: int = limit(2_000, "jobs", "Unfinished jobs of one person.")
    jobs_per_s: float = limit(50.0, "per second", "Jobs made for one person.")
    job_burst: int = limit(4_000, "jobs", "Burst of jobs made for one person.")
    job_wait_hours: int = limit(168, "hours", "Wait for an engine after which a job has expired.")
    feed_keep_hours: int = limit(24, "hours", "Age at which feed events may be pruned.")
    feed_keep_events: int = limit(50_000, "events", "Feed events kept for one person.")
    artifact_keep_days: int = limit(30, "days", "Age at which artifacts may be pruned.")
    artifact_bytes: int = limit(1024**3, "bytes", "Artifacts of one person.")

    # -- records
    violation_queue: int = limit(10_000, "records", "Records waiting for the writer.")
    violation_rows_per_minute: int = limit(20, "rows", "Own rows per (principal, kind, minute).")
    record_keep_days: int = limit(365, "days", "Age at which records may be pruned.")
    audit_actions: AuditScope = limit("state", "scope", "Accepted actions that are audited.")

    # -- the outside
    allowed_origins: tuple[str, ...] = limit((), "origins", "Browser origins besides our own.")
    allow_missing_origin: bool = limit(True, "yes or no", "Native clients send no Origin.")
    trusted_proxies: tuple[str, ...] = limit((), "networks", "Peers whose headers count.")
    https_redirect: bool = limit(
        True, "yes or no", "Pages asked for in clear are redirected, where TLS ends at our proxy."
    )
    hsts_s: int = limit(86_400, "seconds", "Browsers keep to https, where all origins are https.")
    hsts_subdomains: bool = limit(False, "yes or no", "The promise holds for all names below.")
    hsts_preload: bool = limit(False, "yes or no", "Browsers may build the promise in.")
    metrics_token: str = limit("", "token", "Bearer for /metrics beyond loopback.")
    stop_notice_s: float = limit(0.0, "seconds", "Not ready for so long before the goodbyes.")
    # Shorter than clients wait for an acknowledgement (10 s): an answer that says so beats none.
    database_deadline_s: float = limit(8.0, "seconds", "Longest wait for the database.")
    database_threads: int = limit(8, "threads", "Threads for database work of one process.")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "HubSettings":
        """Read ``HUB_<NAME>`` for each field. Raises BadSetting for a value of the wrong kind."""
        hints = get_type_hints(cls)
        values: dict[str, Any] = {
            each.name: _parse(variable, environ[variable], hints[each.name])
            for each in dataclasses.fields(cls)
            if (variable := f"HUB_{each.name.upper()}") in environ
        }
        return cls(**values)


def _parse(variable: str, text: str, kind: Any) -> object:  # noqa: ANN401 - a type expression
    if kind is bool:
        return _parse_bool(variable, text)
    if kind is str:
        return text
    if kind in (int, float):
        return _parse_number(variable, text, kind)
    if choices := [each for each in get_args(kind) if isinstance(each, str)]:
        if text not in choices:
            raise BadSetting(variable, text, "one of " + ", ".join(choices))
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_bool(variable: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise BadSetting(variable, text, "yes or no")
    return word in TRUE_WORDS


def _parse_number(variable: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise BadSetting(variable, text, "a number of zero or more")
    return number


@cache
def hub() -> HubSettings:
    """The settings of this process, as built by the settings module."""
    configured: HubSettings = settings.HUB
    return configured
