"""What the rest of the house is told when an identity ends; receivers close live sockets at once.

Both are sent after the commit, by the thread that made it.
"""

from functools import partial

from django.db import transaction
from django.dispatch import Signal

__all__ = ["announce_service_ended", "announce_sessions_ended", "service_ended", "sessions_ended"]

sessions_ended = Signal()
"""Arguments: ``user_id: int``, ``session_id: str | None`` (None: all sessions), ``because``."""

service_ended = Signal()
"""Arguments: ``kind: str``, ``name: str``, ``because: str``."""


def announce_sessions_ended(user_id: int, session_id: str | None, *, because: str) -> None:
    """Send ``sessions_ended`` once the current transaction is committed."""
    _after_commit(sessions_ended, user_id=user_id, session_id=session_id, because=because)


def announce_service_ended(kind: str, name: str, *, because: str) -> None:
    """Send ``service_ended`` once the current transaction is committed."""
    _after_commit(service_ended, kind=kind, name=name, because=because)


def _after_commit(signal: Signal, **facts: object) -> None:
    # robust: a receiver's failure is logged by Django and cannot undo what is committed already
    transaction.on_commit(partial(signal.send_robust, sender=None, **facts))
