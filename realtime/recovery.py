"""Connection state recovery, as the JavaScript client knows it: what a short break missed.

Section 7 of docs/protocol.md. A client that comes back in time, with the private id of its last
session and the offset of the last event it saw, is the same socket in the same rooms, and is first
sent what it missed. It costs memory and is bounded; it is no substitute for a durable feed.

A session can be taken up once: it is forgotten as it is restored, and kept again when the restored
one breaks, so that an overheard private id is worth nothing afterwards.
"""

import secrets
from collections import OrderedDict, deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from realtime.protocol import CloseReason, Frame, Frames, socketio

if TYPE_CHECKING:  # the node is handed in
    from realtime.node import Node

__all__ = [
    "RECOVERABLE",
    "Break",
    "MemoryRecovery",
    "Missable",
    "Recovery",
    "RecoveryLimits",
    "wish",
]

# Whoever leaves by intent, on either side, does not come back to the same session.
RECOVERABLE: Final = frozenset(
    {
        CloseReason.TRANSPORT_ERROR,
        CloseReason.TRANSPORT_CLOSE,
        CloseReason.FORCED_CLOSE,
        CloseReason.PING_TIMEOUT,
        CloseReason.SERVER_SHUTTING_DOWN,
        CloseReason.FORCED_SERVER_CLOSE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryLimits:
    """How long a break may last, and how many events, bytes and broken sessions are kept."""

    # ``maxDisconnectionDuration`` of the Node server is two minutes as well.
    break_s: float = 120.0
    events: int = 10_000
    size: int = 16 * 1024 * 1024
    sessions: int = 10_000


@dataclass(frozen=True, slots=True)
class Missable:
    """An event that somebody may have missed."""

    namespace: str
    rooms: Collection[str]
    without: Collection[str]
    frames: Frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A membership that broke off at a time; ``identity`` is who may take it up.

    ``rooms`` are all it was in, that of everybody and its own included, each with the time at which
    it came in: what was sent there before is none of its business.
    """

    pid: str
    sid: str
    namespace: str
    rooms: Mapping[str, float]
    identity: Hashable
    state: Any
    at: float

    def missed(self, event: Missable, *, at: float) -> bool:
        """Whether an event that was sent at a time was for it."""
        never = float("inf")
        reached = any(at >= self.rooms.get(room, never) for room in event.rooms)
        excepted = any(room in self.rooms for room in event.without)
        return reached and not excepted and event.namespace == self.namespace


class Recovery(Protocol):
    """Where events and breaks are kept. ``shared`` means by all processes of a site."""

    shared: bool

    def bind(self, node: "Node") -> None:
        """The process is up."""

    async def aclose(self) -> None:
        """The process ends; all its memberships have broken off."""

    def record(
        self,
        namespace: str,
        args: Sequence[Any],
        *,
        rooms: Collection[str],
        without: Collection[str] = (),
        now: float,
    ) -> Frames:
        """Keep an event; returns it encoded, with its offset as last argument."""

    def heard(self, frames: Collection[Frame]) -> Collection[Frame]:
        """An event of another process, as this one sends it to its members."""

    def keep(self, gone: Break) -> None:
        """Keep a membership that broke off."""

    async def take(
        self, pid: str, offset: str, *, namespace: str, identity: Hashable, now: float
    ) -> tuple[Break, Sequence[Frame]] | None:
        """Take a membership up, once, with the frames it missed; None if that cannot be.

        The caller enters the rooms at once, before the loop turns: what is sent after is not here.
        """


class MemoryRecovery:
    """For a site of one process. ``limits`` bound what it costs."""

    shared = False

    def __init__(self, limits: RecoveryLimits | None = None) -> None:
        self._limits = limits or RecoveryLimits()
        self._epoch = secrets.token_urlsafe(6)
        self._events: deque[tuple[Missable, float]] = deque()  # each with its time
        self._first = 0  # the serial number of the oldest event kept
        self._size = 0
        self._breaks: OrderedDict[str, Break] = OrderedDict()

    def bind(self, node: "Node") -> None:
        """As ``Recovery.bind``: there is nobody to speak with."""

    async def aclose(self) -> None:
        """As ``Recovery.aclose``: what it knows ends with the process."""

    def heard(self, frames: Collection[Frame]) -> Collection[Frame]:
        """As ``Recovery.heard``: there are no other processes."""
        return frames

    def record(
        self,
        namespace: str,
        args: Sequence[Any],
        *,
        rooms: Collection[str],
        without: Collection[str] = (),
        now: float,
    ) -> Frames:
        """Keep an event. Raises what ``socketio.encode_event`` raises."""
        offset = f"{self._epoch}.{self._first + len(self._events)}"
        frames = socketio.encode_event(namespace, [*args, offset])
        event = Missable(namespace, tuple(rooms), tuple(without), frames)
        self._events.append((event, now))
        self._size += _size(frames)
        self._forget_events(now)
        return frames

    def keep(self, gone: Break) -> None:
        """Keep a membership that broke off; the oldest ones make room."""
        self._breaks[gone.pid] = gone
        while len(self._breaks) > self._limits.sessions or self._is_old(gone.at):
            self._breaks.popitem(last=False)

    async def take(
        self, pid: str, offset: str, *, namespace: str, identity: Hashable, now: float
    ) -> tuple[Break, Sequence[Frame]] | None:
        """Take a membership up. A wrong guess at the offset or by somebody else leaves it be."""
        gone, start = self._breaks.get(pid), self._after(offset)
        if gone is None or start is None or now - gone.at > self._limits.break_s:
            return None
        if (gone.namespace, gone.identity) != (namespace, identity):
            return None
        del self._breaks[pid]
        events = list(self._events)[start:]
        return gone, [
            frame for event, at in events if gone.missed(event, at=at) for frame in event.frames
        ]

    def _after(self, offset: str) -> int | None:
        """Where the events after that offset begin; None if it is none of those kept."""
        epoch, _, serial = offset.partition(".")
        if epoch != self._epoch or not serial.isdecimal() or not serial.isascii():
            return None
        index = int(serial[:20]) - self._first
        return index + 1 if 0 <= index < len(self._events) else None

    def _is_old(self, now: float) -> bool:
        oldest = next(iter(self._breaks.values()))
        return now - oldest.at > self._limits.break_s

    def _forget_events(self, now: float) -> None:
        limits, events = self._limits, self._events
        while (
            len(events) > limits.events
            or self._size > limits.size
            or now - events[0][1] > limits.break_s
        ):
            self._size -= _size(events.popleft()[0].frames)
            self._first += 1


def wish(auth: dict[str, Any] | None) -> tuple[str, str] | None:
    """The private id and the offset in a CONNECT's payload, if the client wants to be restored."""
    pid, offset = (auth or {}).get("pid"), (auth or {}).get("offset")
    return (pid, offset) if isinstance(pid, str) and isinstance(offset, str) else None


def _size(frames: Frames) -> int:
    return sum(map(len, frames))
