"""Pausing and resuming: whether queued jobs are given to engines at all."""

from datetime import datetime

from django.db import transaction

from engine.clock import moment
from engine.models import DispatchControl
from engine.outcome import Outcome

__all__ = ["is_paused", "pause", "resume"]


def is_paused() -> bool:
    """Tell whether staff have paused dispatch."""
    return DispatchControl.objects.filter(paused=True).exists()


def pause(user_id: int | None, *, now: datetime | None = None) -> Outcome:
    """Give out no more jobs, in any process. What engines hold goes on; people may still submit."""
    return _set(user_id, paused=True, now=now)


def resume(user_id: int | None, *, now: datetime | None = None) -> Outcome:
    """Give out jobs again."""
    return _set(user_id, paused=False, now=now)


def _set(user_id: int | None, *, paused: bool, now: datetime | None) -> Outcome:
    with transaction.atomic():
        DispatchControl.objects.update_or_create(
            pk=1,
            defaults={"paused": paused, "changed_by_id": user_id, "changed_at": moment(now)},
        )
    return Outcome(reply={"paused": paused}, assignable=not paused)
