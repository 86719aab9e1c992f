"""What this process has to do without at the moment, for the banner on every page of the admin."""

from typing import Final

from django.http import HttpRequest

from hubsite import composition

__all__ = ["shortcomings", "standing"]

STATE: Final = (
    "Redis cannot be asked ({reason}). This process decides alone about used nonces, violation "
    "budgets, penalties, handshakes and failed log-ins; signed HTTP requests are refused, to be "
    "sent again."
)
LAYER: Final = (
    "The channel layer does not carry. What happens in other processes is seen late; nothing "
    "that is kept in a feed is lost."
)


def shortcomings() -> list[str]:
    """A sentence for each part that is shared with other processes and cannot be reached."""
    found, state, node = [], composition.state(), composition.server().running
    if state.degraded:
        found.append(STATE.format(reason=state.reason))
    if node is not None and not node.bus.healthy:
        found.append(LAYER)
    return found


def standing(request: HttpRequest) -> dict[str, object]:
    """Template context: ``degraded`` for members of staff, who may know of it."""
    user = getattr(request, "user", None)
    return {"degraded": shortcomings() if user is not None and user.is_staff else []}
