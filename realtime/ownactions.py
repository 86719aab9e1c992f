"""The actions of the "/" namespace itself: interactions, presence and rooms.

Plain functions of a socket and an admitted action; what they reply goes into the acknowledgement,
what they refuse is answered and recorded by the namespace. Other apps bring more types of action.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from realtime.actions import INTERACTIONS, Action, ActionType
from realtime.namespaces import Socket
from security.conf import HubSettings
from security.gate import PayloadRule
from security.grants import ROOM
from security.principals import Principal
from security.refusals import Refused

if TYPE_CHECKING:  # the namespace makes the table and is handed over to it
    from realtime.hub import HubNamespace

__all__ = ["MayEnter", "may_enter_any", "own_actions"]

MayEnter = Callable[[Principal, str], bool]
Reply = dict[str, object]


def may_enter_any(_principal: Principal, _room: str) -> bool:
    """The permission hook of a hub whose rooms are open to everybody who is signed in."""
    return True


def own_actions(
    hub: "HubNamespace", settings: HubSettings, *, may_enter: MayEnter
) -> dict[str, ActionType]:
    """The action types that every hub has, by name."""
    rule = PayloadRule(max_bytes=settings.action_payload)
    handlers: dict[str, Callable[..., Reply]] = {
        **dict.fromkeys(INTERACTIONS, interact),
        "presence": say_presence,
        "room_join": partial(join_room, may_enter=may_enter),
        "room_leave": leave_room,
    }
    return {
        name: ActionType(name=name, rule=rule, handler=partial(handler, hub))
        for name, handler in handlers.items()
    }


def interact(hub: "HubNamespace", socket: Socket[Any], action: Action) -> Reply:
    """To the person's other sockets and to the rooms of this one, never back to it."""
    if not (action.payload is None or isinstance(action.payload, dict)):
        raise Refused("payload_invalid", reason="not_an_object")
    if not hub.has_audience(socket):
        return {}
    principal = socket.state.principal
    update = {
        "id": action.id,
        "user_id": principal.subject,
        "username": principal.username,
        "sid": socket.id,
        "type": action.type,
        "category": INTERACTIONS[action.type],
        "payload": action.payload,
        "client_ts": action.client_ts,
        "server_time": action.at_ms,
    }
    hub.tell_action(socket, update)
    return {}


def say_presence(hub: "HubNamespace", socket: Socket[Any], action: Action) -> Reply:
    """The person says that they are active or idle."""
    state = _only(action, "state")
    if state not in ("active", "idle"):
        raise Refused("payload_invalid", reason="presence_state")
    hub.attendance.say(socket, state)
    return {"state": state}


def join_room(
    hub: "HubNamespace", socket: Socket[Any], action: Action, *, may_enter: MayEnter
) -> Reply:
    """Into a room that the person may enter, if the socket is not in too many already."""
    room = _room(action)
    rooms, limit = hub.open_rooms(socket), hub.guard.settings.rooms_per_socket
    if room in rooms:
        return {"room": room}
    if not may_enter(socket.state.principal, room):
        raise Refused("forbidden", reason="room", detail={"room": room})
    if len(rooms) >= limit:
        raise Refused("quota_exceeded", reason="rooms", detail={"limit": limit})
    hub.enter(socket, room)
    return {"room": room}


def leave_room(hub: "HubNamespace", socket: Socket[Any], action: Action) -> Reply:
    """Out of a room; those who stay see it."""
    room = _room(action)
    if room not in hub.open_rooms(socket):
        raise Refused("not_found", reason="room", detail={"room": room})
    hub.leave(socket, room)
    return {"room": room}


def _room(action: Action) -> str:
    room = _only(action, "room")
    if not isinstance(room, str) or ROOM.fullmatch(room) is None:
        raise Refused("payload_invalid", reason="room")
    return room


def _only(action: Action, key: str) -> object:
    """The value of the one key that the payload has. Raises Refused."""
    if not isinstance(action.payload, dict) or action.payload.keys() != {key}:
        raise Refused("payload_invalid", reason=key)
    return action.payload[key]
