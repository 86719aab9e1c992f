"""Which rooms an agent hears: granted by name, to its account, and to nobody else's.

A change, wherever it is made, ends the agent's sockets through the same signal as a rotated secret
does (``security.models``), so that the agent comes back with what it may hear now::

    ServiceRefused (security.services)
    |-- NoAgent
    '-- BadRoom
"""

import re
from collections.abc import Collection, Iterable
from typing import Final

from django.db import transaction

from security import services
from security.models import RoomGrant, ServiceAccount
from security.services import NewSecret, ServiceRefused, ServiceUnknown

__all__ = [
    "ROOM",
    "BadRoom",
    "NoAgent",
    "add_with_rooms",
    "checked",
    "grant",
    "revoke",
    "rooms_by_agent",
    "rooms_of",
]

ROOM: Final = re.compile(r"[a-z0-9_-]{1,64}")
"""A room that people may name. The hub's own have a colon, so that no grant can reach them."""


class NoAgent(ServiceRefused):
    """Rooms are granted to agents only."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name} is no agent: only agents hear rooms."


class BadRoom(ServiceRefused):
    """No room can have this name."""

    def __init__(self, kind: str, name: str, room: str) -> None:
        self.room = room
        super().__init__(kind, name)

    def __str__(self) -> str:
        return f"{self.room[:80]!r} is no room: its name is 1 to 64 of a-z, 0-9, '_' and '-'."


def add_with_rooms(kind: str, name: str, rooms: Iterable[str]) -> NewSecret:
    """Register an agent that hears rooms. Raises ServiceRefused; then there is no account."""
    with transaction.atomic():
        new = services.add(kind, name)
        grant(kind, name, rooms)
    return new


def grant(kind: str, name: str, rooms: Iterable[str]) -> list[str]:
    """Let an agent hear these rooms, too; returns all it hears. Raises ServiceRefused."""
    with transaction.atomic():
        account = _agent(kind, name)
        for room in [checked(account, room) for room in rooms]:
            RoomGrant.objects.get_or_create(account=account, room=room)
        return rooms_of(name)


def revoke(kind: str, name: str, rooms: Iterable[str]) -> list[str]:
    """Take these rooms from an agent; returns what it still hears. Raises ServiceRefused."""
    with transaction.atomic():
        account = _agent(kind, name)
        RoomGrant.objects.filter(account=account, room__in=list(rooms)).delete()
        return rooms_of(name)


def rooms_of(name: str) -> list[str]:
    """What the agent of that name hears, by name; nothing for one that does not exist."""
    return rooms_by_agent([name])[name]


def rooms_by_agent(names: Collection[str]) -> dict[str, list[str]]:
    """As ``rooms_of``, for many by one query."""
    held: dict[str, list[str]] = {name: [] for name in names}
    rows = RoomGrant.objects.filter(account__kind=ServiceAccount.Kind.AGENT, account__name__in=held)
    for name, room in rows.order_by("room").values_list("account__name", "room"):
        held[name].append(room)
    return held


def checked(account: ServiceAccount, room: str) -> str:
    """The room, if one can have that name. Raises BadRoom."""
    if ROOM.fullmatch(room) is None:
        raise BadRoom(account.kind, account.name, room)
    return room


def _agent(kind: str, name: str) -> ServiceAccount:
    account = ServiceAccount.objects.select_for_update().filter(kind=kind, name=name).first()
    if account is None:
        raise ServiceUnknown(kind, name)
    if account.kind != ServiceAccount.Kind.AGENT:
        raise NoAgent(kind, name)
    return account
