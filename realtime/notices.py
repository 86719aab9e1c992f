"""Tells people and staff about refusals as they happen: ``security_notice``, coalesced.

Violations are reported in any thread and by the thousand; what leaves is one notice per person,
kind and second, with the count, and what reaches the loop is one call a second.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from security import clock, violations
from security.refusals import RULES
from security.violations import Incident

if TYPE_CHECKING:  # the node is handed over when the process is up
    from realtime.node import Node

__all__ = ["Notices"]

INTERVAL_S: Final = 1.0
# (person, kind) pairs of one second; further ones are rows only. Staff are always told: there are
# only so many kinds.
PAIRS_HELD: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Pending:
    """What is to be told: how many of a kind, since when, and in which words."""

    count: int
    since: int
    message: str


class Notices:
    """The notices of one process. ``notify(user_id or None, body)`` sends one, None to staff."""

    def __init__(self, notify: Callable[[str | None, Mapping[str, object]], None]) -> None:
        self._notify = notify
        self._pending: dict[tuple[str | None, str], _Pending] = {}
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self._node: Node

    def start(self, node: "Node") -> None:
        """Listen to the reporter from here on."""
        self.stop()
        self._node = node
        self._stop = violations.on_violation(self._hear)

    def stop(self) -> None:
        """Listen no more."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _hear(self, incident: Incident) -> None:
        """Called in the thread that reported."""
        with self._lock:
            first = not self._pending
            self._add(None, incident)
            if incident.user_id is not None:
                self._add(str(incident.user_id), incident)
        if first and not self._node.loop.is_closed():
            self._node.loop.call_soon_threadsafe(self._send_later)

    def _send_later(self) -> None:
        self._node.timers.after(INTERVAL_S, self._send)

    def _add(self, user_id: str | None, incident: Incident) -> None:
        key = (user_id, incident.kind)
        known = self._pending.get(key)
        if known is not None:
            self._pending[key] = replace(known, count=known.count + 1)
        elif user_id is None or len(self._pending) < PAIRS_HELD:
            self._pending[key] = _Pending(1, clock.now_ms(), RULES[incident.code].message)

    def _send(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        for (user_id, kind), held in pending.items():
            self._notify(
                user_id,
                {"kind": kind, "message": held.message, "count": held.count, "since": held.since},
            )
