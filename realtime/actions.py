"""The registry of signed action types: name, payload bounds, and who handles it.

Every state-changing thing that a person does is one of these; there is no second door. The table
is filled by the apps at start-up and read by the gate (bounds) and by the "/" namespace (handlers).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from security.gate import PayloadRule
from security.strictjson import JsonValue

if TYPE_CHECKING:  # handlers are given the socket; the registry never looks into it
    from realtime.namespaces import Socket

__all__ = ["INTERACTIONS", "Action", "ActionHandler", "ActionType", "Reply"]

INTERACTIONS: Final[Mapping[str, str]] = {
    "click": "pointer",
    "inspect": "pointer",
    "interact": "world",
    "speak": "speech",
    "call_npc": "speech",
    "navigate": "movement",
    "move": "movement",
    "input": "keyboard",
    "scroll": "pointer",
    "emote": "speech",
}
"""The interaction types and the category each is shown under."""


@dataclass(slots=True)  # as good as frozen, which would double the cost of making one per message
class Action:
    """An admitted action on its way to its handler. ``at_ms`` is the hub's time."""

    id: str
    type: str
    payload: JsonValue
    client_ts: int
    at_ms: int


Reply: TypeAlias = Mapping[str, object]
ActionHandler: TypeAlias = "Callable[[Socket[Any], Action], Reply | Awaitable[Reply]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionType:
    """One type: its bounds at the gate, and its handler."""

    name: str
    rule: PayloadRule
    handler: ActionHandler
