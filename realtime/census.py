"""Who is connected, at all processes: asked for when somebody wants to know, and kept nowhere.

Nothing is written or counted for it while messages flow, beyond what a session counts anyway. An
Engine.IO session's id is a secret of its client, so a connection is named by a digest of it.
"""

import asyncio
import hashlib
import os
import socket as network
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from realtime.attendance import Attendance
from realtime.fanout import EVERYONE
from realtime.guard import Guard, Wire
from realtime.inquiries import Inquiries
from realtime.node import Node
from realtime.outbox import Outbox
from realtime.processes import Look
from realtime.sessions import Session
from security import clock

__all__ = ["Census", "Connection", "Listing", "current"]

T = TypeVar("T")

LIST: Final = "census.list"
ONE: Final = "census.one"
END: Final = "census.end"
SUMMARY: Final = "census.summary"

ANSWERS_WITHIN_S: Final = 1.0  # only where nobody knows how many processes live, or one is silent
MOST_LISTED: Final = 500
PEOPLE_TOLD: Final = 10_000
ROOMS_TOLD: Final = 20
AT_ONCE: Final = 500  # sessions that are looked at before the loop may do something else
CLOSE_ENDED: Final = 4401


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection; times in milliseconds since the epoch, ``heard_ms`` 0 where nobody is heard.

    ``principal`` is empty where nobody has proved who it is. ``received`` and ``sent`` are frames.
    """

    process: str
    key: str
    principal: str
    name: str
    namespaces: tuple[str, ...]
    rooms: tuple[str, ...]
    ip: str
    transport: str
    since_ms: int
    heard_ms: int
    received: int
    sent: int

    @classmethod
    def of(cls, session: Session) -> "Connection":
        """As it is now."""
        wire: Wire = session.policy_state
        seats = [socket.state for socket in session.sockets.values()]
        rooms = {room for socket in session.sockets.values() for room in socket.rooms}
        rooms |= {room for seat in seats for room in getattr(seat, "rooms", ())}  # an agent's
        principal = wire.principal
        return cls(
            process=session.node.id,
            key=_key(session.id),
            principal=principal.label if principal else "",
            name=principal.username if principal else "",
            namespaces=tuple(sorted(session.sockets)),
            rooms=tuple(sorted(room for room in rooms if ":" not in room)),
            ip=wire.ip,
            transport=_transport(session),
            since_ms=_epoch_ms(session.node, session.opened_at),
            heard_ms=_epoch_ms(session.node, max((seat.heard_at for seat in seats), default=0.0)),
            received=session.received,
            sent=session.sent,
        )

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Connection":
        """As another process has told it."""
        lists = {name: tuple(body[name]) for name in ("namespaces", "rooms")}
        return cls(**{**body, **lists})

    def has(self, text: str) -> bool:
        """Whether a text, in lower case, occurs in what is shown of it."""
        shown = (self.principal, self.name, self.ip, self.transport, self.process)
        return any(text in each.lower() for each in (*shown, *self.namespaces, *self.rooms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Connections of all processes that answered, newest first: ``total`` match, some are shown.

    ``silent`` is how many living processes did not answer.
    """

    connections: tuple[Connection, ...]
    total: int
    processes: int
    silent: int


class Census:
    """The questions about connections, and this process's answers to them."""

    def __init__(
        self,
        guard: Guard,
        attendance: Attendance,
        inquiries: Inquiries,
        *,
        degraded: Callable[[], bool],
    ) -> None:
        self._guard = guard
        self._attendance = attendance
        self._inquiries = inquiries
        self._degraded = degraded
        self._others: frozenset[str] | None = frozenset()
        self._node: Node
        guard.processes.on_look(self._look)
        answers = {LIST: self._list, ONE: self._one, END: self._end, SUMMARY: self._summary}
        for question, answer in answers.items():
            inquiries.answer(question, answer)

    def bind(self, node: Node) -> None:
        """The process is up."""
        self._node = node
        self._began_ms = clock.now_ms()
        _running.append(self)

    async def stop(self) -> None:
        """The process ends."""
        if self in _running:
            _running.remove(self)

    def _look(self, look: Look) -> None:
        self._others = look.living

    # -- what is asked, on the loop

    async def connections(self, search: str = "", *, limit: int = MOST_LISTED) -> Listing:
        """The newest connections in which a text occurs, at most so many, of all processes."""
        asked = {"search": search.strip().lower(), "limit": min(limit, MOST_LISTED)}
        answers = await self._ask_all(LIST, asked)
        found = [Connection.read(each) for answer in answers for each in answer["connections"]]
        found.sort(key=lambda each: each.since_ms, reverse=True)
        return Listing(
            connections=tuple(found[:limit]),
            total=sum(answer["total"] for answer in answers),
            processes=len(answers),
            silent=self.silent(len(answers)),
        )

    def silent(self, answered: int) -> int:
        """How many processes live that did not answer; 0 while nobody knows who lives."""
        return max(0, 1 + len(self._others or ()) - answered)

    async def connection(self, process: str, key: str) -> Connection | None:
        """One connection; None if it is gone."""
        answers = await self._ask_owner(ONE, process, key)
        return Connection.read(answers[0]) if answers else None

    async def disconnect(self, process: str, key: str) -> bool:
        """End a connection; it takes no right away. Whether it was there."""
        return bool(await self._ask_owner(END, process, key))

    async def summaries(self) -> list[Mapping[str, Any]]:
        """What each process says of itself."""
        return await self._ask_all(SUMMARY, {})

    async def _ask_all(self, question: str, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        ask, within_s = self._inquiries.ask, ANSWERS_WITHIN_S
        if self._others is None:
            return await ask(question, body, within_s=within_s)
        return await ask(question, body, within_s=within_s, enough=1 + len(self._others))

    async def _ask_owner(self, question: str, process: str, key: str) -> list[Mapping[str, Any]]:
        asked = {"process": process, "key": key}
        return await self._inquiries.ask(question, asked, within_s=ANSWERS_WITHIN_S, enough=1)

    async def from_anywhere(self, call: "Callable[[Census], Awaitable[T]]") -> T:
        """Ask on the loop that the process's sockets live on, from whatever loop this is."""

        async def there() -> T:
            return await call(self)

        if self._node.loop is asyncio.get_running_loop():
            return await there()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._node.loop))

    # -- what this process answers

    async def _list(self, asked: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        search, limit = asked["search"], asked["limit"]
        found: list[dict[str, Any]] = []
        total = 0
        for number, session in enumerate(self._newest_first(), 1):
            if len(found) < limit or search:
                connection = Connection.of(session)
                if search and not connection.has(search):
                    continue
                if len(found) < limit:
                    found.append(asdict(connection))
            total += 1
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return [{"connections": found, "total": total}]

    async def _one(self, asked: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        return [asdict(Connection.of(session)) for session in self._named(asked)]

    async def _end(self, asked: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        ended = list(self._named(asked))
        for session in ended:
            session.close(CLOSE_ENDED, detail="ended by staff")
        return [{} for _ in ended]

    async def _summary(self, _asked: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        sessions, node = self._newest_first(), self._node
        namespaces = {name: len(node.fanout.members(name, EVERYONE)) for name in node.namespaces}
        people = self._attendance.people()
        return [
            {
                "process": node.id,
                "host": network.gethostname(),
                "pid": os.getpid(),
                "since_ms": self._began_ms,
                "memory_bytes": _memory(),
                "draining": node.draining,
                "bus_healthy": node.bus.healthy,
                "bus_dropped": node.bus.dropped,
                "state_degraded": self._degraded(),
                "connections": len(sessions),
                "transports": Counter(map(_transport, sessions)),
                "namespaces": namespaces,
                "received": node.received_before + sum(each.received for each in sessions),
                "sent": node.sent_before + sum(each.sent for each in sessions),
                "delivered": node.fanout.delivered,
                "people": dict(list(people.items())[:PEOPLE_TOLD]),
                "people_untold": max(0, len(people) - PEOPLE_TOLD),
                "rooms": self._largest_rooms(sessions),
            }
        ]

    def _largest_rooms(self, sessions: Iterable[Session]) -> dict[str, int]:
        sizes = Counter(
            room
            for session in sessions
            for socket in session.sockets.values()
            for room in socket.rooms
            if ":" not in room
        )
        return dict(sizes.most_common(ROOMS_TOLD))

    def _newest_first(self) -> list[Session]:
        sessions: Any = list(self._node.sessions.values())  # the hub's all speak Socket.IO
        sessions.reverse()
        return sessions  # type: ignore[no-any-return]  # as above

    def _named(self, asked: Mapping[str, Any]) -> Iterator[Session]:
        if asked["process"] == self._node.id:
            yield from (each for each in self._newest_first() if _key(each.id) == asked["key"])


def current() -> Census | None:
    """The census of this process; None where nobody has connected, as in management commands."""
    return _running[-1] if _running else None


_running: list[Census] = []


def _key(session_id: str) -> str:
    return hashlib.blake2b(session_id.encode(), digest_size=12).hexdigest()


def _transport(session: Session) -> str:
    return "websocket" if isinstance(session.transport, Outbox) else "polling"


def _epoch_ms(node: Node, at: float) -> int:
    """A time of the loop's clock as milliseconds since the epoch; 0 stays 0."""
    return clock.now_ms() - round((node.now() - at) * 1000) if at else 0


def _memory() -> int | None:
    """Resident bytes, where the system tells (Linux)."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
