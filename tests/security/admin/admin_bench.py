"""A violation on record, and an admin action upon rows."""

from datetime import UTC, datetime
from typing import Any

from django.test import Client
from django.urls import reverse

from security.models import Violation

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW = AT.timestamp()


def record(user_id: int | None = None, **changes: Any) -> Violation:
    facts = {
        "at": AT, "first_at": AT, "last_at": AT, "kind": "replay_detected", "severity": "high",
        "code": "replay_detected", "principal": "user:1", "user_id": user_id, "count": 17,
        "writer": "w", "prev_hash": "", "hash": "h",
    }  # fmt: skip
    violation = Violation(**{**facts, **changes})
    violation.save()
    return violation


def act(client: Client, model: str, action: str, *chosen: Any, confirmed: str = "yes") -> Any:
    return client.post(
        reverse(f"admin:security_{model}_changelist"),
        {
            "action": action,
            "_selected_action": [each.pk for each in chosen],
            "confirmed": confirmed,
        },
        follow=True,
    )
