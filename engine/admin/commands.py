"""What staff do to many rows at once: asked for once more, then decided one by one, and audited."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from engine import effects
from engine.outcome import Outcome
from security.admin import audit_staff, confirmed
from security.refusals import Refused

__all__ = ["ask_or_do"]

Decide = Callable[[Any], Outcome]


def ask_or_do(
    page: Any,  # noqa: ANN401 - the ModelAdmin whose action it is
    request: HttpRequest,
    rows: "QuerySet[Any]",
    *,
    title: str,
    says: str,
    record: str,
    decide: Decide,
) -> HttpResponse | None:
    """Answer with the page that asks, or do it for each row if that page was answered with yes.

    A row whose decision is refused (it ended meanwhile) is left out and counted. Each row that was
    decided leaves an audit entry `record`.
    """
    effects_shown = [f"{row}: {row.state}" for row in rows]
    answer = confirmed(page, request, title=title, says=says, effects=effects_shown)
    if isinstance(answer, HttpResponse):
        return answer
    done = [row for row in rows if _do(request, row, record, decide)]
    messages.success(request, f"{title}: done for {len(done)}.")
    if refused := len(effects_shown) - len(done):
        messages.warning(request, f"{title}: not possible for {refused}.")
    return None


def _do(request: HttpRequest, row: Model, record: str, decide: Decide) -> bool:
    try:
        outcome = decide(row)
    except Refused:
        return False
    effects.hand_over(outcome)
    audit_staff(request, record, row)
    return True
