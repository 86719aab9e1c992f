"""Brings the durable feed to the sockets of this process, in order and without gaps.

Each socket has a cursor of its own and is only ever sent what follows it, so a replay after a
break, a live event and a repair after a lost hint are one and the same. Hints make it quick; asking
for the counters of the local people every two seconds makes it sure. The rows are another floor's:
see FeedSource.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from realtime.namespaces import Socket
from realtime.protocol import socketio
from security import database

if TYPE_CHECKING:  # the node is handed over when the process is up
    from realtime.node import Node

__all__ = ["FeedPump", "FeedSource", "Follower"]

log = logging.getLogger(__name__)

PAGE: Final = 100  # events read and written at once; below the outbox's bound of 256 messages
POLL_S: Final = 2.0
TOPIC: Final = "feed"


class Entry(Protocol):
    """A numbered event."""

    @property
    def seq(self) -> int:
        """From 1, without gaps."""

    @property
    def event(self) -> str:
        """The event's name."""

    @property
    def body(self) -> str:
        """The JSON text of its data."""

    @property
    def data(self) -> dict[str, Any]:
        """The same as values."""


class Page(Protocol):
    """What follows a position. Not recovered: a snapshot is due instead."""

    @property
    def epoch(self) -> str:
        """Which numbering this is."""

    @property
    def head(self) -> int:
        """The number of the newest event."""

    @property
    def recovered(self) -> bool:
        """Whether the position was one that events can follow."""

    @property
    def events(self) -> Sequence[Entry]:
        """What follows, oldest first."""


class FeedSource(Protocol):
    """The rows behind the feed; synchronous, called in database threads."""

    def read(self, user_id: int, epoch: str | None, after: int, limit: int = ...) -> Page:
        """At most ``limit`` events from ``after`` + 1 on."""

    def snapshot(self, user_id: int) -> Mapping[str, Any]:
        """Everything a client needs that cannot be replayed to; has ``epoch`` and ``head``."""

    def heads(self, user_ids: Collection[int]) -> Mapping[int, tuple[str, int]]:
        """``(epoch, head)`` of many people, in one query."""

    def position(self, user_id: int) -> tuple[str, int]:
        """``(epoch, head)`` of one person, whose feed begins if there is none."""


class Follower:
    """One socket's place in its owner's feed."""

    __slots__ = ("busy", "epoch", "page", "seq", "socket", "user_id", "wanted")

    def __init__(self, socket: Socket[Any], user_id: int, epoch: str, seq: int) -> None:
        self.socket = socket
        self.user_id = user_id
        self.epoch = epoch
        self.seq = seq
        self.wanted = seq
        self.page: Page | None = None
        self.busy = False


class FeedPump:
    """The followers of one process."""

    def __init__(self, source: FeedSource) -> None:
        self.source = source
        self._followers: dict[int, dict[Socket[Any], Follower]] = {}
        self._node: Node

    def start(self, node: "Node") -> None:
        """Listen for hints, and ask regularly."""
        self._node = node
        node.bus.subscribe(TOPIC, self._hear)
        node.timers.after(POLL_S, self._poll)

    async def begin(
        self, socket: Socket[Any], user_id: int, asked: Mapping[str, Any] | None
    ) -> tuple[dict[str, object], Follower]:
        """Find the place of a new socket: the ``feed`` of its ``session``, and its follower."""
        if asked is None:
            epoch, head = await database.read(self.source.position, user_id)
            body = {"epoch": epoch, "head": head, "recovered": False}
            return body, Follower(socket, user_id, epoch, head)
        page = await database.read(
            self.source.read, user_id, asked["epoch"], asked["after"], limit=PAGE
        )
        body = {"epoch": page.epoch, "head": page.head, "recovered": page.recovered}
        follower = Follower(socket, user_id, page.epoch, asked["after"] if page.recovered else -1)
        follower.wanted = page.head
        if page.events:  # so that it need not be read again: after a crash everybody comes at once
            follower.page = page
        return body, follower

    async def follow(self, follower: Follower) -> None:
        """Send what the socket missed, then keep it up to date. One that has left is forgotten."""
        if not follower.socket.connected:
            return
        self._followers.setdefault(follower.user_id, {})[follower.socket] = follower
        await self._advance(follower)

    def forget(self, socket: Socket[Any], user_id: int) -> None:
        """A socket left; harmless for a stranger."""
        followers = self._followers.get(user_id, {})
        followers.pop(socket, None)
        if not followers:
            self._followers.pop(user_id, None)

    def publish(self, heads: Mapping[int, int]) -> None:
        """After a commit: these feeds have moved to these heads. Tells the other processes too."""
        self._node.bus.publish(TOPIC, {"heads": {str(user): head for user, head in heads.items()}})
        for user_id, head in heads.items():
            self._hint(user_id, head)

    def _hear(self, message: Mapping[str, Any]) -> None:
        for user_id, head in message["heads"].items():
            self._hint(int(user_id), head)

    def _hint(self, user_id: int, head: int, epoch: str | None = None) -> None:
        for follower in self._followers.get(user_id, {}).values():
            if epoch is not None and epoch != follower.epoch:
                follower.seq = -1
            follower.wanted = max(follower.wanted, head)
            if follower.wanted > follower.seq and not follower.busy:
                self._node.background(self._catch_up(follower))

    def _poll(self) -> None:
        self._node.background(self._ask())

    async def _ask(self) -> None:
        try:
            if self._followers:
                heads = await database.read(self.source.heads, tuple(self._followers))
                for user_id, (epoch, head) in heads.items():
                    self._hint(user_id, head, epoch)
        except database.TROUBLE as error:
            log.warning("feeds could not be looked at, the next look is soon: %s", error)
        finally:
            self._node.timers.after(POLL_S, self._poll)

    async def _catch_up(self, follower: Follower) -> None:
        """Go on behind a hint; what fails now is made good by the next look."""
        try:
            await self._advance(follower)
        except database.TROUBLE as error:
            log.warning("a feed could not be read, the next look is soon: %s", error)

    async def _advance(self, follower: Follower) -> None:
        """Write pages until the socket is where it wants to be; one at a time for each socket."""
        if follower.busy:
            return
        follower.busy = True
        try:
            while follower.seq < follower.wanted and follower.socket.connected:
                await self._send_page(follower)
                await follower.socket.session.drained()
        finally:
            follower.busy = False

    async def _send_page(self, follower: Follower) -> None:
        if follower.seq < 0:
            await self._send_snapshot(follower)
            return
        page, follower.page = follower.page, None
        if page is None:
            page = await database.read(
                self.source.read, follower.user_id, follower.epoch, follower.seq, limit=PAGE
            )
        if not page.recovered:
            follower.seq = -1
            return
        name = follower.socket.namespace.name
        for entry in page.events:
            args = f'["{entry.event}",{entry.body}]'
            follower.socket.send_encoded(socketio.encode_event_json(name, args))
            follower.seq = entry.seq
        if not page.events:
            follower.wanted = follower.seq  # a hint promised more than was committed

    async def _send_snapshot(self, follower: Follower) -> None:
        follower.page = None
        snapshot = await database.read(self.source.snapshot, follower.user_id)
        follower.epoch, follower.seq = snapshot["epoch"], snapshot["head"]
        follower.wanted = max(follower.wanted, follower.seq)
        follower.socket.emit("feed_snapshot", dict(snapshot))
