"""Who is in a room, and how alive: a pure fold of what many sockets show, and the differences.

A person has many sockets, at several processes; the liveliest of them decides. The fold is done
twice: of a person's sockets at one process, which gives what that process tells the others, and of
what all processes tell. Both give the same for the same entries, in whatever order they came, so
every process shows the same. No clock, no I/O.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, Literal, TypeAlias, TypeVar

import orjson

__all__ = ["LIVELINESS", "Board", "Diff", "Hall", "Member", "State", "diff", "fold"]

State: TypeAlias = Literal["active", "idle", "inactive", "disconnected"]

LIVELINESS: Final[Mapping[State, int]] = {"active": 3, "idle": 2, "inactive": 1, "disconnected": 0}

HERE: Final = ""  # stands for this process among the names of the others

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a room, as one socket, one process or all of them show them.

    ``since`` is in milliseconds since the epoch: the earliest arrival of ``sockets``.
    """

    user_id: str
    username: str
    state: State
    device: str
    since: int
    sockets: int = 1

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


def fold(entries: Iterable[Member]) -> Member:
    """What several show of one person: the liveliest state, its device, the earliest arrival.

    Raises ValueError for no entries: a person without any is not a member.
    """
    held = list(entries)
    if len(held) == 1:
        return held[0]
    if not held:
        raise ValueError("a member has at least one socket")
    best = max(held, key=_liveliness)
    return replace(
        best,
        since=min(each.since for each in held),
        sockets=sum(each.sockets for each in held),
    )


def _liveliness(entry: Member) -> tuple[int, int, str, str]:
    """Of two that are equally lively the later counts; the rest makes every process agree."""
    return LIVELINESS[entry.state], entry.since, entry.device, entry.username


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


class Board(Generic[K]):
    """The entries of one room, and what its members were when they were last told.

    A change costs as much as its person has entries, however many people are in the room.
    """

    def __init__(self) -> None:
        self._entries: dict[K, Member] = {}
        self._by_user: dict[str, dict[K, Member]] = {}
        self._members: dict[str, Member] = {}
        self._told: dict[str, Member] = {}
        self._touched: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._entries or self._told)

    def put(self, key: K, entry: Member) -> Member:
        """An entry is new, or changed; it stays its person's. Returns how the person is now."""
        self._entries[key] = entry
        self._by_user.setdefault(entry.user_id, {})[key] = entry
        return self._fold(entry.user_id)

    def remove(self, key: K) -> bool:
        """Take an entry away; says whether it was here."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        user = entry.user_id
        del self._by_user[user][key]
        if self._by_user[user]:
            self._fold(user)
        else:
            del self._by_user[user], self._members[user]
            self._touched[user] = None
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

    def _fold(self, user: str) -> Member:
        self._touched[user] = None
        self._members[user] = member = fold(self._by_user[user].values())
        return member


class Hall:
    """One room as this process sees it: its own sockets there, and everybody of all processes.

    ``own`` are its sockets, whose members are what it tells the other processes; ``everybody`` is
    what its clients are told.
    """

    def __init__(self) -> None:
        self.own: Board[str] = Board()
        self.everybody: Board[tuple[str, str]] = Board()
        self._texts: dict[str, str] = {}

    def put(self, socket_id: str, entry: Member) -> None:
        """A socket of this process came, or changed."""
        self.hear(HERE, entry.user_id, self.own.put(socket_id, entry))

    def remove(self, socket_id: str, user_id: str) -> None:
        """A socket of this process left."""
        self.own.remove(socket_id)
        self.hear(HERE, user_id, self.own.members().get(user_id))

    def hear(self, process: str, user_id: str, share: Member | None) -> None:
        """This is what a process shows of a person now; None: nothing any more."""
        if share is None:
            self.everybody.remove((process, user_id))
        else:
            self.everybody.put((process, user_id), share)
        member = self.everybody.members().get(user_id)
        if member is None:
            self._texts.pop(user_id, None)
        else:
            # As text: what orjson returns keeps the 4 KiB it was written into (3.13).
            self._texts[user_id] = orjson.dumps(member.body()).decode()

    def list_json(self) -> str:
        """Everybody as a JSON array, pasted from what each change encoded.

        Every newcomer is sent all of it; encoded anew each time, a thousand who come at once would
        be a million members to encode.
        """
        return f"[{','.join(self._texts.values())}]"


def _only(members: Mapping[str, Member], users: Iterable[str]) -> dict[str, Member]:
    return {user: members[user] for user in users if user in members}
