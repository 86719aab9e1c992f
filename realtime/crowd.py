"""Everybody in every room, over all processes, told to the clients of this one in coalesced diffs.

This process owns what its own sockets show, tells the others what changed of it ten times a second
at most, and keeps a replica of what they tell (``realtime.replicas``). So a newcomer's list and a
diff are made in memory: neither asks another process, the shared state or the database.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from prometheus_client import Counter, Gauge

from realtime.node import Node
from realtime.presence import Hall, Member
from realtime.processes import LEASE_S, Look, Processes
from realtime.replicas import Bulletin, Change, Replicas

__all__ = ["Crowd"]

DIFF_INTERVAL_S: Final = 0.25  # at most four presence_diff a second and room
NEWS_INTERVAL_S: Final = 0.1
WHOLE_WITHIN_S: Final = 2.0  # how long the first newcomers wait for the other processes' answers
FAREWELL_S: Final = 1.0
TOPIC: Final = "presence"

RESYNCS = Counter("hub_presence_resyncs", "Times that another process was asked for all presence.")
REPLICAS = Gauge("hub_presence_replicas", "Other processes whose presence this one knows.")

Tell = Callable[[str, dict[str, object]], None]


class Crowd:
    """The halls of all rooms with sockets of this process.

    ``tell(room, diff)`` sends a presence_diff to those sockets. A process of which nothing can be
    heard counts as dead after ``keep_s``.
    """

    def __init__(self, *, tell: Tell, keep_s: float) -> None:
        self._tell_clients = tell
        self._keep_s = keep_s
        self._halls: dict[str, Hall] = {}
        self._dirty: set[str] = set()
        self._untold: dict[str, None] = {}
        self._whole = asyncio.Event()
        self._node: Node
        self._replicas: Replicas
        self._bulletin: Bulletin

    def start(self, node: Node, processes: Processes) -> None:
        """The process is up: hear the others."""
        self._node = node
        self._replicas = Replicas(lease_s=LEASE_S, keep_s=self._keep_s)
        self._bulletin = Bulletin(node.id)
        if not node.bus.shared:
            self._whole.set()
            return
        node.timers.after(WHOLE_WITHIN_S, self._whole.set)
        for topic in (TOPIC, _topic(node.id)):
            node.bus.subscribe(topic, self._hear)
        processes.on_look(self._look)

    async def whole(self) -> None:
        """Return when the other processes have told what they show; at the latest soon."""
        await self._whole.wait()

    async def stop(self) -> None:
        """The process ends: tell the others what its sockets show no more, while it can."""
        self._publish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._node.bus.carried()

    # -- the sockets of this process

    def put(self, room: str, socket_id: str, entry: Member) -> None:
        """A socket is in a room, and shows this."""
        hall = self._halls.get(room)
        if hall is None:
            hall = self._open(room)
        hall.put(socket_id, entry)
        self._own_changed(room)

    def remove(self, room: str, socket_id: str, user_id: str) -> None:
        """A socket is in a room no more."""
        self._halls[room].remove(socket_id, user_id)
        self._own_changed(room)

    def list_json(self, room: str) -> str:
        """Everybody in a room, as a JSON array of members."""
        hall = self._halls.get(room)
        return hall.list_json() if hall is not None else "[]"

    def _open(self, room: str) -> Hall:
        hall = self._halls[room] = Hall()
        for process, share in self._replicas.in_room(room):
            hall.hear(process, share.user_id, share)
        hall.everybody.take_diff()  # nobody has been told, but who comes now is sent the list
        return hall

    def _own_changed(self, room: str) -> None:
        if not self._untold:
            self._node.timers.after(NEWS_INTERVAL_S, self._publish)
        self._untold[room] = None
        self._changed(room)

    # -- telling

    def _changed(self, room: str) -> None:
        if room not in self._dirty:
            self._dirty.add(room)
            self._node.timers.after(DIFF_INTERVAL_S, lambda: self._tell(room))

    def _tell(self, room: str) -> None:
        self._dirty.discard(room)
        hall = self._halls.get(room)
        if hall is None:
            return
        change = hall.everybody.take_diff()
        if change:
            self._tell_clients(room, change.body(room))
        self._close_if_left(room, hall)

    def _publish(self) -> None:
        rooms, self._untold = self._untold, {}
        halls = [(room, self._halls[room]) for room in rooms if room in self._halls]
        news = self._bulletin.news([(room, hall.own.take_diff()) for room, hall in halls])
        if news is not None:
            self._node.bus.publish(TOPIC, news)
        for room, hall in halls:
            self._close_if_left(room, hall)

    def _close_if_left(self, room: str, hall: Hall) -> None:
        """Without sockets of ours nobody here is told; what others show is kept by the replicas."""
        if not hall.own:
            del self._halls[room]

    # -- the other processes

    def _hear(self, message: Mapping[str, Any]) -> None:
        if message["kind"] == "ask":
            self._answer(message["process"])
            return
        now = self._node.now()
        self._take(message["process"], self._replicas.hear(message, now))
        self._ask_for_missed(now)

    def _answer(self, process: str) -> None:
        self._publish()  # what was told and what is shown are the same now
        shown = ((room, hall.own.members().values()) for room, hall in self._halls.items())
        for part in self._bulletin.state(shown):
            self._node.bus.publish(_topic(process), part)

    def _look(self, look: Look) -> None:
        now = self._node.now()
        for process, changes in self._replicas.look(look.living, certain=look.certain, now=now):
            self._take(process, changes)
        self._node.bus.publish(TOPIC, self._bulletin.pulse())
        self._ask_for_missed(now)

    def _ask_for_missed(self, now: float) -> None:
        for process in self._replicas.to_ask(now):
            RESYNCS.inc()
            self._node.bus.publish(_topic(process), self._bulletin.ask())
        if self._replicas.complete:
            self._whole.set()
        REPLICAS.set(len(self._replicas))

    def _take(self, process: str, changes: Iterable[Change]) -> None:
        for room, user_id, share in changes:
            hall = self._halls.get(room)
            if hall is not None:
                hall.hear(process, user_id, share)
                self._changed(room)


def _topic(process: str) -> str:
    return f"{TOPIC}.{process}"
