"""Rooms, and broadcasts that are encoded once and written to every local member.

One message per process crosses the bus, whatever the number of members there.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import orjson

from realtime.bus import LAST, Bus
from realtime.direct import shared
from realtime.protocol import Frame, socketio
from realtime.recovery import Recovery

__all__ = ["EVERYONE", "Fanout", "Member"]

RoomKey = tuple[str, str]
EVERYONE = ""  # the room of all members of a namespace


class Member(Protocol):
    """Somebody who can be in a room."""

    id: str

    def send_encoded(self, frames: Collection[Frame], *, volatile: bool = False) -> None:
        """Write frames that are ready for the wire."""


class Fanout:
    """Who is in which room of which namespace, in this process; and how to reach all of them."""

    def __init__(
        self, bus: Bus, *, recovery: Recovery | None = None, now: Callable[[], float] = float
    ) -> None:
        self._bus = bus
        self._recovery = recovery
        self._now = now
        self._rooms: dict[RoomKey, dict[Member, None]] = {}
        self.delivered = 0

    @property
    def rooms(self) -> int:
        """How many rooms have a local member, those of one socket or of all among them."""
        return len(self._rooms)

    def arrive(self, namespace: str, member: Member) -> None:
        """A member has joined the namespace: it is in the room of all, and in one by its id."""
        self.join(namespace, EVERYONE, member)
        self.join(namespace, member.id, member)

    def depart(self, namespace: str, member: Member) -> None:
        """A member has left the namespace."""
        self.leave(namespace, EVERYONE, member)
        self.leave(namespace, member.id, member)

    def join(self, namespace: str, room: str, member: Member) -> None:
        """Add a member; the first one makes this process listen for the room."""
        key = (namespace, room)
        members = self._rooms.get(key)
        if members is None:
            members = self._rooms[key] = {}
            if self._bus.shared:
                self._bus.subscribe(_topic(key), self._hear)
        members[member] = None

    def leave(self, namespace: str, room: str, member: Member) -> None:
        """Remove a member; the last one ends the listening. Harmless for a stranger."""
        key = (namespace, room)
        members = self._rooms.get(key)
        if members is None:
            return
        members.pop(member, None)
        if not members:
            del self._rooms[key]
            if self._bus.shared:
                self._bus.unsubscribe(_topic(key), self._hear)

    def members(self, namespace: str, room: str) -> Collection[Member]:
        """The local members of a room."""
        return self._rooms.get((namespace, room), {}).keys()

    def has_others(self, namespace: str, rooms: Iterable[str], member: Member) -> bool:
        """Whether a broadcast to rooms may be heard by anybody but this member, now or later."""
        if self._bus.shared or self._recovery is not None:
            return True
        for room in rooms:
            members = self._rooms.get((namespace, room), ())
            if len(members) > 1 or (members and member not in members):
                return True
        return False

    def broadcast(
        self,
        namespace: str,
        rooms: Iterable[str],
        event: str,
        *args: Any,  # noqa: ANN401 - whatever the wire can carry
        without: Collection[str] = (),
        volatile: bool = False,
    ) -> int:
        """Send an event to the members of rooms, once each, but to nobody in ``without``.

        That names rooms, of which a member's id is one, as Socket.IO's ``except`` does.
        Returns the number of local deliveries.
        """
        rooms = tuple(rooms)
        members = self._addressees(namespace, rooms, without)
        if self._recovery is None or volatile:
            if not members and not self._bus.shared:
                return 0  # nobody to encode it for
            frames = socketio.encode_event(namespace, [event, *args])
        else:
            frames = self._recovery.record(
                namespace, [event, *args], rooms=rooms, without=without, now=self._now()
            )
        if self._bus.shared:
            self._tell_others(namespace, rooms, frames, without, volatile=volatile)
        return self._write(members, frames, volatile=volatile)

    def broadcast_here(
        self,
        namespace: str,
        room: str,
        event: str,
        *args: Any,  # noqa: ANN401 - whatever the wire can carry
    ) -> int:
        """Send an event to the members of a room in this process only, each time anew: it is not
        kept for those who recover. Returns the number of deliveries.
        """
        members = self._local_members(namespace, (room,))
        if not members:
            return 0
        frames = socketio.encode_event(namespace, [event, *args])
        return self._write(members, frames, volatile=False)

    def _write(
        self, members: Collection[Member], frames: Collection[Frame], *, volatile: bool
    ) -> int:
        if len(members) > 1:
            frames = shared(frames)
        for member in members:
            member.send_encoded(frames, volatile=volatile)
        self.delivered += len(members)
        return len(members)

    def _addressees(
        self, namespace: str, rooms: tuple[str, ...], without: Collection[str]
    ) -> Collection[Member]:
        members = self._local_members(namespace, rooms)
        if not members or not without:
            return members
        excluded = frozenset(self._local_members(namespace, tuple(without)))
        return [member for member in members if member not in excluded]

    def _local_members(self, namespace: str, rooms: tuple[str, ...]) -> tuple[Member, ...]:
        if len(rooms) == 1:
            return tuple(self._rooms.get((namespace, rooms[0]), ()))
        together: dict[Member, None] = {}
        for room in rooms:
            together.update(self._rooms.get((namespace, room), {}))
        return tuple(together)

    def _tell_others(
        self,
        namespace: str,
        rooms: tuple[str, ...],
        frames: Collection[Frame],
        without: Collection[str],
        *,
        volatile: bool,
    ) -> None:
        """One message per room's topic; a process in several of the rooms writes only once.

        Each copy names all rooms, and a listener takes the copy of the first room it has.
        """
        message = {
            "namespace": namespace,
            "rooms": list(rooms),
            "frames": list(frames),
            "without": list(without),
            "volatile": volatile,
        }
        for room in rooms:
            self._bus.publish(_topic((namespace, room)), {**message, "room": room}, rank=LAST)

    def _hear(self, message: Mapping[str, Any]) -> None:
        namespace, rooms = message["namespace"], tuple(message["rooms"])
        first_here = next((room for room in rooms if (namespace, room) in self._rooms), None)
        if first_here == message["room"]:
            members = self._addressees(namespace, rooms, message["without"])
            frames, volatile = message["frames"], message["volatile"]
            if self._recovery is not None and not volatile:
                frames = self._recovery.heard(frames)
            self._write(members, frames, volatile=volatile)


def _topic(key: RoomKey) -> str:
    """A topic that no other (namespace, room) has: the pair as JSON cannot be confused."""
    return "room:" + orjson.dumps(key).decode()
