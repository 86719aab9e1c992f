"""The database's clock, which alone decides leases; read once per transaction and passed on.

Processes have clocks of their own and these differ. A lease granted by one process and judged by
another must be measured with one clock, so every decision asks the database (docs/engine.md).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection

__all__ = ["database_now", "milliseconds", "moment"]

# PostgreSQL's now() stands still during a transaction, also while that waits for a lock.
NOW: Final[Mapping[str, str]] = {
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')",
    "postgresql": "SELECT clock_timestamp()",
}

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)


def database_now() -> datetime:
    """Ask the database for the time, in UTC. SQLite answers in milliseconds."""
    with connection.cursor() as cursor:
        cursor.execute(NOW[connection.vendor])
        (value,) = cursor.fetchone()
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    read: datetime = value
    return read.astimezone(UTC)


def moment(now: datetime | None) -> datetime:
    """Return the time that a transaction was given, or the database's if it was given none."""
    return database_now() if now is None else now


def milliseconds(at: datetime | None) -> int | None:
    """Return a moment as the wire has it: whole milliseconds since the epoch, UTC."""
    return None if at is None else (at - EPOCH) // MILLISECOND
