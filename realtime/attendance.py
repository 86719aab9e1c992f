"""Presence kept true by heartbeats: who is in which room of this process, told in coalesced diffs.

Only the hub's time counts. Each socket has one deadline in the process's timers; a heartbeat merely
moves a mark, and the deadline looks at the mark when it is due.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from realtime.namespaces import Socket
from realtime.node import Node
from realtime.presence import Board, Presence, State
from security import clock
from security.conf import HubSettings

__all__ = ["Attendance"]

DIFF_INTERVAL_S: Final = 0.25  # at most four presence_diff a second and room
MOBILE: Final = re.compile(r"Mobile|Android|iPhone|iPad")

Tell = Callable[[str, dict[str, object]], None]
Silent = Callable[[Socket[Any]], None]


class Attendance:
    """The boards of all rooms, and the marks of all heartbeats.

    ``tell(room, diff)`` broadcasts a presence_diff; ``on_silent(socket)`` ends a socket whose
    heartbeats have been missing for too long.
    """

    def __init__(self, settings: HubSettings, *, tell: Tell, on_silent: Silent) -> None:
        self._settings = settings
        self._broadcast = tell
        self._on_silent = on_silent
        self._boards: dict[str, Board] = {}
        self._dirty: set[str] = set()
        self._beats: dict[Socket[Any], float] = {}
        self._presence: dict[Socket[Any], Presence] = {}
        self._places: dict[Socket[Any], set[str]] = {}
        self._node: Node

    def start(self, node: Node) -> None:
        """The process is up."""
        self._node = node

    def arrive(self, socket: Socket[Any]) -> None:
        """A socket has joined; its heartbeats count from now."""
        principal = socket.state.principal
        agent = socket.session.handshake.headers.get("user-agent", "")
        self._presence[socket] = Presence(
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
        self._presence.pop(socket, None)
        for room in self._places.pop(socket, ()):
            self._boards[room].remove(socket.id)
            self._changed(room)

    def enter(self, socket: Socket[Any], room: str) -> list[dict[str, object]]:
        """A socket appears in a room; returns the full list that it is sent once."""
        board = self._boards.setdefault(room, Board())
        if socket in self._places:
            self._places[socket].add(room)
            board.put(socket.id, self._presence[socket])
        self._changed(room)
        return [member.body() for member in board.members().values()]

    def leave(self, socket: Socket[Any], room: str) -> None:
        """A socket disappears from a room; harmless where it was not."""
        if room in self._places.get(socket, ()):
            self._places[socket].remove(room)
            self._boards[room].remove(socket.id)
            self._changed(room)

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
        self._presence[socket] = replace(presence, state=state)
        for room in self._places[socket]:
            self._boards[room].put(socket.id, self._presence[socket])
            self._changed(room)

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

    def _changed(self, room: str) -> None:
        if room not in self._dirty:
            self._dirty.add(room)
            self._node.timers.after(DIFF_INTERVAL_S, lambda: self._tell(room))

    def _tell(self, room: str) -> None:
        self._dirty.discard(room)
        board = self._boards[room]
        change = board.take_diff()
        if change:
            self._broadcast(room, change.body(room))
        if not board:
            del self._boards[room]
