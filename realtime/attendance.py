"""Presence kept true by heartbeats: what each socket of this process shows, and in which rooms.

Only the hub's time counts. Each socket has one deadline in the process's timers; a heartbeat merely
moves a mark, and the deadline looks at the mark when it is due.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from realtime.crowd import Crowd
from realtime.namespaces import Socket
from realtime.node import Node
from realtime.presence import LIVELINESS, Member, State
from security import clock
from security.conf import HubSettings

__all__ = ["Attendance"]

MOBILE: Final = re.compile(r"Mobile|Android|iPhone|iPad")

Silent = Callable[[Socket[Any]], None]


class Attendance:
    """The marks of all heartbeats, and what each socket brings into the crowd.

    ``on_silent(socket)`` ends a socket whose heartbeats have been missing for too long.
    """

    def __init__(self, settings: HubSettings, crowd: Crowd, *, on_silent: Silent) -> None:
        self._settings = settings
        self._crowd = crowd
        self._on_silent = on_silent
        self._beats: dict[Socket[Any], float] = {}
        self._presence: dict[Socket[Any], Member] = {}
        self._places: dict[Socket[Any], set[str]] = {}
        self._node: Node

    def start(self, node: Node) -> None:
        """The process is up."""
        self._node = node

    def arrive(self, socket: Socket[Any]) -> None:
        """A socket has joined; its heartbeats count from now."""
        principal = socket.state.principal
        agent = socket.session.handshake.headers.get("user-agent", "")
        self._presence[socket] = Member(
            user_id=principal.subject,
            username=principal.username,
            state="active",
            device="mobile" if MOBILE.search(agent) else "desktop",
            since=clock.now_ms(),
        )
        self._places[socket] = set()
        self._beats[socket] = self._node.now()
        self._watch(socket)

    def depart(self, socket: Socket[Any]) -> None:
        """A socket is gone; harmless for one that never arrived."""
        self._beats.pop(socket, None)
        presence = self._presence.pop(socket, None)
        if presence is not None:
            for room in self._places.pop(socket):
                self._crowd.remove(room, socket.id, presence.user_id)

    def enter(self, socket: Socket[Any], room: str) -> str:
        """A socket appears in a room; returns the full list that it is sent once, as JSON."""
        if socket in self._places:
            self._places[socket].add(room)
            self._crowd.put(room, socket.id, self._presence[socket])
        return self._crowd.list_json(room)

    def leave(self, socket: Socket[Any], room: str) -> None:
        """A socket disappears from a room; harmless where it was not."""
        if room in self._places.get(socket, ()):
            self._places[socket].remove(room)
            self._crowd.remove(room, socket.id, self._presence[socket].user_id)

    def people(self) -> dict[str, State]:
        """Everybody with a socket of this process, in the liveliest state of theirs."""
        people: dict[str, State] = {}
        for each in self._presence.values():
            known = people.get(each.user_id)
            if known is None or LIVELINESS[each.state] > LIVELINESS[known]:
                people[each.user_id] = each.state
        return people

    def beat(self, socket: Socket[Any]) -> None:
        """A heartbeat came; an inactive socket is active again. Ignored from one that is gone."""
        if socket not in self._beats:
            return
        self._beats[socket] = self._node.now()
        if self._presence[socket].state == "inactive":
            self.say(socket, "active")

    def say(self, socket: Socket[Any], state: State) -> None:
        """A socket is in this state now, in all its rooms. Ignored from one that is gone."""
        presence = self._presence.get(socket)
        if presence is None or presence.state == state:
            return
        self._presence[socket] = presence = replace(presence, state=state)
        for room in self._places[socket]:
            self._crowd.put(room, socket.id, presence)

    def _watch(self, socket: Socket[Any]) -> None:
        if socket not in self._beats:
            return
        settings, silent_s = self._settings, self._node.now() - self._beats[socket]
        if silent_s >= settings.disconnect_after_s:
            self._on_silent(socket)
            return
        due_s = settings.inactive_after_s
        if silent_s >= settings.inactive_after_s:
            self.say(socket, "inactive")
            due_s = settings.disconnect_after_s
        socket.state.timers["heartbeat"] = self._node.timers.at(
            self._beats[socket] + due_s, lambda: self._watch(socket)
        )
