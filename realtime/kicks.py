"""Ends live sockets when the right behind them ends: at once where it is announced, else soon.

Logout, a changed password, deactivation, a rotated secret: the floor below announces each after its
commit, in whichever thread and process made it. This process closes its own sockets and tells the
others over the bus; a process without a node, such as a management command, tells them itself. And
because layers lose messages, every process asks the database about all its principals regularly
(docs/security.md, "Identities": within 1 s with a shared layer, within 31 s without).
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import DatabaseError

from realtime.bus import group_name
from realtime.namespaces import Socket
from realtime.roster import Roster
from security import clock, database, sessions
from security.signals import service_ended, sessions_ended

if TYPE_CHECKING:  # the node is handed over when the process is up
    from realtime.node import Node

__all__ = ["Kicks", "announce_without_node", "listen_without_node"]

log = logging.getLogger(__name__)

RECHECK_S: Final = 30.0
TOPIC: Final = "kicks"
CLOSE_AUTH_ENDED: Final = 4401
SENDS_WITHIN_S: Final = 2.0  # of a command, which is done and only has to tell


class Kicks:
    """The endings of one process."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._node: Node

    def start(self, node: "Node") -> None:
        """Hear of endings, and ask about everybody every RECHECK_S."""
        self._node = node
        _nodes.append(self)
        sessions_ended.connect(self._on_sessions_ended)
        service_ended.connect(self._on_service_ended)
        node.bus.subscribe(TOPIC, self._hear)
        node.timers.after(RECHECK_S, self._recheck_soon)

    def stop(self) -> None:
        """Hear no more; harmless when never started."""
        sessions_ended.disconnect(self._on_sessions_ended)
        service_ended.disconnect(self._on_service_ended)
        if self in _nodes:
            _nodes.remove(self)

    # -- announced, in any thread

    def _on_sessions_ended(
        self,
        *,
        user_id: int,
        session_id: str | None,
        because: str,
        **_signal: object,
    ) -> None:
        self._announce(f"user:{user_id}", session_id, because)

    def _on_service_ended(self, *, kind: str, name: str, because: str, **_signal: object) -> None:
        self._announce(f"{kind}:{name}", None, because)

    def _announce(self, label: str, session_id: str | None, because: str) -> None:
        body = _body(label, session_id, because)
        if not self._node.loop.is_closed():
            self._node.loop.call_soon_threadsafe(self._end_everywhere, body)

    # -- on the loop

    def _end_everywhere(self, body: Mapping[str, Any]) -> None:
        self._hear(body)
        self._node.bus.publish(TOPIC, body)

    def _hear(self, body: Mapping[str, Any]) -> None:
        ended = self._roster.end(body["label"], body["session_id"], now=self._node.now())
        for socket in ended:
            self._close(socket, body["because"])

    def _close(self, socket: Socket[Any], because: str) -> None:
        socket.session.close(CLOSE_AUTH_ENDED, detail=f"session ended: {because}")

    # -- asked regularly

    def _recheck_soon(self) -> None:
        self._node.background(self._recheck())

    async def _recheck(self) -> None:
        try:
            principals = {socket.state.principal for socket in self._roster}
            if not principals:
                return
            lapsed = await database.read(sessions.lapsed, principals, now=clock.now_ms() / 1000)
            for socket in self._roster:
                if socket.state.principal in lapsed:
                    self._close(socket, "no longer valid")
        except (database.DatabaseBusy, DatabaseError):
            log.warning("who is connected could not be checked", exc_info=True)
        finally:
            self._node.timers.after(RECHECK_S, self._recheck_soon)


_nodes: list[Kicks] = []


def listen_without_node() -> None:
    """Called once per process at start-up, for the processes that never have a node."""
    sessions_ended.connect(_tell_sessions_ended, dispatch_uid="realtime.kicks")
    service_ended.connect(_tell_service_ended, dispatch_uid="realtime.kicks")


def announce_without_node(label: str, session_id: str | None, because: str) -> None:
    """Tell the hub's processes over the layer, if there is one and this process is not the hub."""
    layer = get_channel_layer()
    if _nodes or layer is None or isinstance(layer, InMemoryChannelLayer):
        return
    body = _body(label, session_id, because)
    envelope = {"type": "hub", "topic": TOPIC, "origin": "command", "body": body}
    async_to_sync(_send)(layer, envelope)


async def _send(layer: Any, envelope: Mapping[str, object]) -> None:  # noqa: ANN401 - channels types no layer
    """Raises TimeoutError where the layer hangs; the processes look by themselves then."""
    async with asyncio.timeout(SENDS_WITHIN_S):
        await layer.group_send(group_name(TOPIC), envelope)


def _tell_sessions_ended(
    *, user_id: int, session_id: str | None, because: str, **_signal: object
) -> None:
    announce_without_node(f"user:{user_id}", session_id, because)


def _tell_service_ended(*, kind: str, name: str, because: str, **_signal: object) -> None:
    announce_without_node(f"{kind}:{name}", None, because)


def _body(label: str, session_id: str | None, because: str) -> dict[str, Any]:
    return {"label": label, "session_id": session_id, "because": because}
