"""Violations: every refusal is counted, and the first of a kind each minute get rows of their own.

The first 20 per (principal, kind, minute) are rows, and their refusal waits for the commit
(``confirm``), so what a client was told is what staff can read. Beyond that ``report`` returns at
once and each flush appends one row with the count of that flush. The sum of ``count`` is the exact
number of refusals, also under a flood. (docs/security.md.)
"""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Counter

from security import clock
from security.conf import hub
from security.detail import bounded, network_of, regular_ip, visible
from security.models import Violation
from security.process import PerProcess
from security.recorder import Recorder, Tally, moment, recorder
from security.refusals import Severity, kind_severity

__all__ = ["Incident", "Reporter", "confirm", "confirm_blocking", "on_violation", "report"]

CONFIRM_S: Final = 1.0
ADDRESSES_PER_MINUTE: Final = 1_000
OTHER_ADDRESSES: Final = "ip:other"
CROWD: Final = "crowd"  # the principal of roll-ups when even these are too many
MINUTE_MS: Final = 60_000

UNCONFIRMED = Counter("hub_violations_unconfirmed", "Refusals sent before their row was stored.")
REPORTED = Counter("hub_violations", "Refusals, each one, by kind.", ["kind"])
_log = logging.getLogger(__name__)

_NOTHING: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A refusal as it is reported. ``principal`` is empty for a peer that proved nothing.

    ``detail`` is small, its keys are ours, and it holds no payload, token, signature or key.
    ``payload_sha256`` is hexadecimal. ``sid`` is stored as its SHA-256 only.
    """

    kind: str
    code: str
    principal: str = ""
    user_id: int | None = None
    namespace: str = ""
    sid: str = ""
    login_session: str = ""
    ip: str | None = None
    event_type: str = ""
    payload_sha256: str = ""
    detail: Mapping[str, object] = field(default_factory=lambda: _NOTHING)


Listener = Callable[[Incident], None]


@dataclass(frozen=True, slots=True)
class _ViolationDraft:
    """An incident on its way to a row."""

    incident: Incident
    principal: str
    severity: Severity
    at_ms: int
    detail: dict[str, object]

    @property
    def tally_key(self) -> Hashable:
        return self.principal, self.incident.kind

    @property
    def crowd_key(self) -> Hashable:
        return CROWD, self.incident.kind

    def row(self) -> Violation:
        incident, at = self.incident, moment(self.at_ms)
        return Violation(
            **self._facts(self.principal),
            at=at,
            first_at=at,
            last_at=at,
            count=1,
            namespace=visible(incident.namespace, 64),
            sid_hash=hashlib.sha256(incident.sid.encode(errors="replace")).hexdigest()
            if incident.sid
            else "",
            login_session=visible(incident.login_session, 40),
            event_type=visible(incident.event_type, 64),
            payload_sha256=visible(incident.payload_sha256, 64),
            detail=self.detail,
        )

    def rolled_up(self, tally: Tally) -> Violation:
        return Violation(
            **self._facts(CROWD if tally.crowded else self.principal),
            at=moment(tally.last_ms),
            first_at=moment(tally.first_ms),
            last_at=moment(tally.last_ms),
            count=tally.count,
            detail={"rollup": True},
        )

    def _facts(self, principal: str) -> dict[str, object]:
        """What a row of one and a row of many have in common. A crowd is nobody."""
        incident, one = self.incident, principal not in {CROWD, OTHER_ADDRESSES}
        return {
            "kind": visible(incident.kind, 40),
            "code": visible(incident.code, 40),
            "severity": self.severity,
            "principal": visible(principal, 96),
            "user_id": incident.user_id if one else None,
            "ip": regular_ip(incident.ip) if one else None,
        }


class Reporter:
    """Decides what becomes a row of its own. Usable from any thread."""

    def __init__(self, recorder: Callable[[], Recorder]) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()
        self._minute = 0
        self._rows: dict[tuple[str, str], int] = {}
        self._addresses: set[str] = set()

    def report(self, incident: Incident, *, now_ms: int) -> Future[None] | None:
        """Record a refusal; as the module's ``report``."""
        severity = kind_severity(incident.kind, incident.code)
        with self._lock:
            self._turn_to(now_ms // MINUTE_MS)
            principal = incident.principal or self._address(incident.ip)
            own_row = self._claim_row(principal, incident.kind)
        detail = bounded(incident.detail) if own_row else {}
        draft = _ViolationDraft(incident, principal, severity, now_ms, detail)
        if own_row:
            return self._recorder().append(draft)
        self._recorder().count(draft)
        return None

    def _turn_to(self, minute: int) -> None:
        if minute > self._minute:
            self._minute = minute
            self._rows.clear()
            self._addresses.clear()

    def _claim_row(self, principal: str, kind: str) -> bool:
        key = principal, kind
        taken = self._rows.get(key, 0)
        if taken >= hub().violation_rows_per_minute:
            return False
        if not taken and len(self._rows) >= hub().violation_queue:
            return False  # too many to tell apart this minute: counted, not listed
        self._rows[key] = taken + 1
        return True

    def _address(self, ip: str | None) -> str:
        name = f"ip:{network_of(ip)}"
        if name not in self._addresses:
            if len(self._addresses) >= ADDRESSES_PER_MINUTE:
                return OTHER_ADDRESSES
            self._addresses.add(name)
        return name


def report(incident: Incident, *, now_ms: int | None = None) -> Future[None] | None:
    """Record a refusal and tell the listeners. Never waits.

    Returns a future that is done after the commit of the incident's own row: pass it to ``confirm``
    before the refusal is sent. None means that it is counted in a roll-up and the refusal goes at
    once. ``now_ms`` is the time of the refusal (the hub's clock when None).

    Raises SecretInDetail for a detail that names a secret, KeyError for a kind and code that nobody
    declared: faults of ours, found by tests.
    """
    REPORTED.labels(incident.kind).inc()
    at_ms = clock.now_ms() if now_ms is None else now_ms
    future = _reporter().report(incident, now_ms=at_ms)
    for listener in _listeners:
        _tell(listener, incident)
    return future


async def confirm(future: Future[None] | None) -> bool:
    """Wait, at most CONFIRM_S, until the row of a refusal is stored. False: it is not, yet."""
    if future is None:
        return True
    if not future.done():
        await asyncio.wait({asyncio.wrap_future(future)}, timeout=CONFIRM_S)
    return _is_stored(future)


def confirm_blocking(future: Future[None] | None) -> bool:
    """As ``confirm``, for threads without an event loop."""
    if future is None:
        return True
    wait({future}, timeout=CONFIRM_S)
    return _is_stored(future)


def on_violation(listener: Listener) -> Callable[[], None]:
    """Call ``listener(incident)`` for every refusal, in the thread that reports it.

    It must be quick and must not raise: it runs before the refusal is sent, also under a flood.
    Returns what takes it off again.
    """
    global _listeners  # noqa: PLW0603 - replaced whole, so that threads that report need no lock
    _listeners = (*_listeners, listener)

    def remove() -> None:
        global _listeners  # noqa: PLW0603 - as above
        _listeners = tuple(each for each in _listeners if each is not listener)

    return remove


def _tell(listener: Listener, incident: Incident) -> None:
    try:
        listener(incident)
    except Exception:  # noqa: BLE001 - the refusal must be sent whatever a listener does
        _log.exception("a listener of violations failed")


def _is_stored(future: Future[None]) -> bool:
    if future.done() and future.exception() is None:
        return True
    UNCONFIRMED.inc()
    return False


_listeners: tuple[Listener, ...] = ()
_reporter = PerProcess(lambda: Reporter(recorder))
