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
        joins=tuple(member for user, member in after.items() if user not in before),
        leaves=tuple(
            replace(member, state="disconnected", sockets=0)
            for user, member in before.items()
            if user not in after
        ),
        changes=tuple(
            member for user, member in after.items() if user in before and member != before[user]
        ),
    )


class Board:
    """The sockets of one room, and what its members were last told.

    A change costs as much as its person has sockets, however many people are in the room.
    """

    def __init__(self) -> None:
        self._sockets: dict[str, Presence] = {}
        self._by_user: dict[str, dict[str, Presence]] = {}
        self._members: dict[str, Member] = {}
        self._told: dict[str, Member] = {}
        self._touched: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._sockets or self._told)

    def put(self, socket_id: str, presence: Presence) -> None:
        """A socket came, or changed its state; it stays its person's."""
        self._sockets[socket_id] = presence
        self._by_user.setdefault(presence.user_id, {})[socket_id] = presence
        self._fold(presence.user_id)

    def remove(self, socket_id: str) -> bool:
        """A socket left; says whether it was here."""
        presence = self._sockets.pop(socket_id, None)
        if presence is None:
            return False
        del self._by_user[presence.user_id][socket_id]
        self._fold(presence.user_id)
        return True

    def members(self) -> Mapping[str, Member]:
        """Everybody in the room now, by user id."""
        return self._members

    def take_diff(self) -> Diff:
        """What changed since the last time; it counts as told from here on."""
        change = diff(_only(self._told, self._touched), _only(self._members, self._touched))
        for user in self._touched:
            if user in self._members:
                self._told[user] = self._members[user]
            else:
                self._told.pop(user, None)
        self._touched.clear()
        return change

    def _fold(self, user: str) -> None:
        self._touched[user] = None
        sockets = self._by_user[user]
        if sockets:
            self._members[user] = fold(sockets.values())
        else:
            del self._by_user[user], self._members[user]


def _only(members: Mapping[str, Member], users: Iterable[str]) -> dict[str, Member]:
    return {user: members[user] for user in users if user in members}
