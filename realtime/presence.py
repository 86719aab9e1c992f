"""Who is in a room, and how alive: a pure fold over sockets, and the difference of two such folds.

A person has many sockets; the liveliest of them decides. No clock, no I/O: the namespace says when
a socket came, what it said and when it fell silent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

__all__ = ["Board", "Diff", "Member", "Presence", "State", "diff", "fold"]

State: TypeAlias = Literal["active", "idle", "inactive", "disconnected"]

LIVELINESS: Final[Mapping[State, int]] = {"active": 3, "idle": 2, "inactive": 1, "disconnected": 0}


@dataclass(frozen=True, slots=True)
class Presence:
    """One socket of a person in a room. ``since`` is in milliseconds since the epoch."""

    user_id: str
    username: str
    state: State
    device: str
    since: int


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a room, as clients are told."""

    user_id: str
    username: str
    state: State
    device: str
    since: int
    sockets: int

    def body(self) -> dict[str, object]:
        """The wire's form."""
        return {
            "user_id": self.user_id,
            "username": self.username,
            "state": self.state,
            "device": self.device,
            "since": self.since,
            "sockets": self.sockets,
        }


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed in a room between two looks."""

    joins: tuple[Member, ...] = ()
    leaves: tuple[Member, ...] = ()
    changes: tuple[Member, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.joins or self.leaves or self.changes)

    def body(self, room: str) -> dict[str, object]:
        """The wire's form."""
        return {
            "room": room,
            "joins": [member.body() for member in self.joins],
            "leaves": [member.body() for member in self.leaves],
            "changes": [member.body() for member in self.changes],
        }


def fold(sockets: Iterable[Presence]) -> Member:
    """One person's sockets as one member: the liveliest state, its device, the earliest arrival.

    Raises ValueError for no sockets: a person without any is not a member.
    """
    held = list(sockets)
    if not held:
        raise ValueError("a member has at least one socket")
    best = max(held, key=lambda each: (LIVELINESS[each.state], each.since))
    return Member(
        user_id=best.user_id,
        username=best.username,
        state=best.state,
        device=best.device,
        since=min(each.since for each in held),
        sockets=len(held),
    )


def diff(before: Mapping[str, Member], after: Mapping[str, Member]) -> Diff:
    """What leads from one fold to the next; who left is shown once as disconnected."""
    return Diff(
        joins=tuple(after[user] for user in after.keys() - before.keys()),
        leaves=tuple(
            replace(before[user], state="disconnected", sockets=0)
            for user in before.keys() - after.keys()
        ),
        changes=tuple(
            after[user] for user in after.keys() & before.keys() if after[user] != before[user]
        ),
    )


class Board:
    """The sockets of one room, and what its members were last told."""

    def __init__(self) -> None:
        self._sockets: dict[str, Presence] = {}
        self._told: dict[str, Member] = {}

    def __bool__(self) -> bool:
        return bool(self._sockets or self._told)

    def put(self, socket_id: str, presence: Presence) -> None:
        """A socket came, or changed its state."""
        self._sockets[socket_id] = presence

    def remove(self, socket_id: str) -> bool:
        """A socket left; says whether it was here."""
        return self._sockets.pop(socket_id, None) is not None

    def members(self) -> dict[str, Member]:
        """Everybody in the room now, by user id."""
        by_user: dict[str, list[Presence]] = {}
        for presence in self._sockets.values():
            by_user.setdefault(presence.user_id, []).append(presence)
        return {user: fold(sockets) for user, sockets in by_user.items()}

    def take_diff(self) -> Diff:
        """What changed since the last time; it counts as told from here on."""
        now = self.members()
        change = diff(self._told, now)
        self._told = now
        return change
