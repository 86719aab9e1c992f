"""What the processes of a hub tell each other of presence, and how each notices what it missed.

Pure: no bus, no clock, no I/O. Each process says what it shows in its rooms, and numbers its news,
so that whoever missed some knows it at the next. Values are absolute, never steps: what is heard is
true, whatever was missed before it. Docs: docs/wire.md, "Presence"; docs/operations.md.

    news    {kind, process, serial, rows}               what changed; without rows only the number
    ask     {kind, process}                             to one process: say everything
    state   {kind, process, serial, part, parts, rows}  everything, to the one who asked

A row is ``[room, user_id, username, state, device, since, sockets]``, or ``[room, user_id]`` where
the process shows nothing of that person any more.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from realtime.presence import Diff, Member

__all__ = ["Bulletin", "Change", "Replica", "Replicas"]

ROWS_OF_A_PART: Final = 500  # some 40 KiB: no message holds up what is behind it
ASK_AGAIN_S: Final = 1.0

Row: TypeAlias = Sequence[Any]
Message: TypeAlias = dict[str, Any]


class Change(NamedTuple):
    """What a process shows of a person in a room now; None: nothing any more."""

    room: str
    user_id: str
    share: Member | None


class Bulletin:
    """What this process tells the others; ``process`` is its name, never used before."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.serial = 0

    def news(self, diffs: Iterable[tuple[str, Diff]]) -> Message | None:
        """What changed in rooms; None if nothing did."""
        rows = [row for room, change in diffs for row in _rows_of(room, change)]
        if not rows:
            return None
        self.serial += 1
        return self._message("news", serial=self.serial, rows=rows)

    def pulse(self) -> Message:
        """No news, but their number: whoever missed the last ones notices."""
        return self._message("news", serial=self.serial, rows=[])

    def ask(self) -> Message:
        """For one other process: tell me everything."""
        return self._message("ask")

    def state(self, rooms: Iterable[tuple[str, Iterable[Member]]]) -> Iterator[Message]:
        """All that the news so far come to, in parts. No news may go out between them."""
        rows = [_row(room, member) for room, members in rooms for member in members]
        parts = max(1, -(-len(rows) // ROWS_OF_A_PART))
        for part in range(parts):
            some = rows[part * ROWS_OF_A_PART : (part + 1) * ROWS_OF_A_PART]
            yield self._message("state", serial=self.serial, part=part, parts=parts, rows=some)

    def _message(self, kind: str, **fields: object) -> Message:
        return {"kind": kind, "process": self.process, **fields}


@dataclass(slots=True, eq=False)
class Replica:
    """What another process shows, as far as it was heard. ``serial`` is None after a gap.

    ``heard_at`` is when it last spoke, ``listed_at`` when it was last among the living, and
    ``asked_at`` when it was last asked for everything; all in the caller's seconds.
    """

    heard_at: float
    listed_at: float
    asked_at: float = float("-inf")
    serial: int | None = None
    rooms: dict[str, dict[str, Member]] = field(default_factory=dict)
    _parts: list[Row] = field(default_factory=list)
    _next_part: tuple[int, int] = (0, 0)  # of the state with that serial

    def hear_news(self, message: Mapping[str, Any]) -> list[Change]:
        """Take news; what they change here."""
        serial, rows = message["serial"], message["rows"]
        if self.serial is not None:
            missed = serial - self.serial - bool(rows)
            if missed < 0:
                return []  # a state that was asked for knew it already
            self.serial = None if missed else serial
        return self._set([_change(row) for row in rows])

    def hear_state(self, message: Mapping[str, Any]) -> list[Change]:
        """Take a part of everything; with the last part, what it changes here."""
        serial, part = message["serial"], message["part"]
        if part == 0:
            self._parts = []
        elif (serial, part) != self._next_part:
            return []  # a part is missing: all will be asked for again
        self._parts += message["rows"]
        self._next_part = serial, part + 1
        if part + 1 < message["parts"]:
            return []
        rows, self._parts, self.serial = self._parts, [], serial
        return self._replace([_change(row) for row in rows])

    def forget(self) -> list[Change]:
        """Nothing of it counts any more."""
        return self._replace([])

    def _replace(self, everything: list[Change]) -> list[Change]:
        named = {(each.room, each.user_id) for each in everything}
        gone = [
            Change(room, user_id, None)
            for room, shares in self.rooms.items()
            for user_id in shares
            if (room, user_id) not in named
        ]
        return self._set(gone + everything)

    def _set(self, changes: list[Change]) -> list[Change]:
        return [change for change in changes if self._set_one(change)]

    def _set_one(self, change: Change) -> bool:
        shares = self.rooms.get(change.room, {})
        if shares.get(change.user_id) == change.share:
            return False
        if change.share is not None:
            self.rooms.setdefault(change.room, {})[change.user_id] = change.share
            return True
        del shares[change.user_id]
        if not shares:
            del self.rooms[change.room]
        return True


class Replicas:
    """All other processes that were heard of.

    One that is not among the living, and was silent for ``lease_s``, is dead. One that may live but
    was silent for ``keep_s`` counts as dead: what it shows by now cannot be known.
    """

    def __init__(self, *, lease_s: float, keep_s: float) -> None:
        self._lease_s = lease_s
        self._keep_s = max(keep_s, lease_s)
        self._copies: dict[str, Replica] = {}

    def __len__(self) -> int:
        return len(self._copies)

    @property
    def complete(self) -> bool:
        """Whether everything is known of everybody who was heard of."""
        return all(copy.serial is not None for copy in self._copies.values())

    def hear(self, message: Mapping[str, Any], now: float) -> list[Change]:
        """Take news or a part of a state; what they change."""
        copy = self._copy_of(message["process"], now)
        copy.heard_at = now
        if message["kind"] == "state":
            return copy.hear_state(message)
        return copy.hear_news(message)

    def look(
        self, living: Collection[str] | None, *, certain: bool, now: float
    ) -> Iterator[tuple[str, list[Change]]]:
        """Go through all of them: the dead, each with what its death changes.

        ``living`` are those whose leases run, None where that cannot be known. That is not
        ``certain`` while a living process may not have been able to renew its lease yet.
        """
        for process in living or ():
            self._copy_of(process, now).listed_at = now
        for process, copy in list(self._copies.items()):
            if self._is_dead(copy, now, certain=certain and living is not None):
                del self._copies[process]
                yield process, copy.forget()

    def _is_dead(self, copy: Replica, now: float, *, certain: bool) -> bool:
        silent_s, listed = now - copy.heard_at, copy.listed_at == now
        return silent_s >= (self._lease_s if certain and not listed else self._keep_s)

    def to_ask(self, now: float) -> list[str]:
        """Those of whom something was missed, and who have not just been asked; now they are."""
        found = [
            process
            for process, copy in self._copies.items()
            if copy.serial is None and now - copy.asked_at >= ASK_AGAIN_S
        ]
        for process in found:
            self._copies[process].asked_at = now
        return found

    def in_room(self, room: str) -> Iterator[tuple[str, Member]]:
        """What each process shows in a room."""
        for process, copy in self._copies.items():
            for share in copy.rooms.get(room, {}).values():
                yield process, share

    def _copy_of(self, process: str, now: float) -> Replica:
        copy = self._copies.get(process)
        if copy is None:
            copy = self._copies[process] = Replica(heard_at=now, listed_at=now)
        return copy


def _rows_of(room: str, change: Diff) -> Iterator[Row]:
    for member in (*change.joins, *change.changes):
        yield _row(room, member)
    for member in change.leaves:
        yield [room, member.user_id]


def _row(room: str, member: Member) -> Row:
    return [
        room,
        member.user_id,
        member.username,
        member.state,
        member.device,
        member.since,
        member.sockets,
    ]


def _change(row: Row) -> Change:
    room, user_id, *rest = row
    return Change(room, user_id, Member(user_id, *rest) if rest else None)
