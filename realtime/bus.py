"""The process's one channel on the channel layer: topics in, topics out.

A process subscribes to a topic while it has a local listener for it. What crosses the layer is a
wake-up or a broadcast, never the only copy of anything: layers drop silently when they are full, or
when what is behind them is down. What is sent then is lost, but a subscription is made up for as
soon as the layer works again. The layer of one process alone (in memory) carries nothing, since
every listener is local.
"""

import asyncio
import hashlib
import itertools
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

__all__ = ["FIRST", "LAST", "Bus", "group_name"]

log = logging.getLogger(__name__)

Message = Mapping[str, Any]
Listener = Callable[[Message], None]

Operation = tuple[int, int, str, Any]
"""Rank, serial, topic, and what is said there; None: join or leave it."""

SAFE_TOPIC = re.compile(r"[A-Za-z0-9_.-]{1,80}")
WAITING = 10_000  # operations of one process waiting for the layer; more are dropped and counted
# Broadcasts among them. Whoever acts in many rooms makes some thousands a second, and the layer
# carries about as many: what ends logins, carries connections and wakes engines goes first.
BROADCASTS_WAITING = 2_000
FIRST, LAST = 0, 1  # ranks of what waits
RETRY_S = 1.0
CARRIES_WITHIN_S = 2.0  # a layer whose server hangs would hang us: its client waits for ever


def group_name(topic: str) -> str:
    """A group name that every layer accepts: ASCII letters, digits, ``-_.``, under 100 characters.

    Other topics are named by their digest, so that no two topics share a group by accident.
    """
    if SAFE_TOPIC.fullmatch(topic):
        return f"hub.t.{topic}"
    return f"hub.h.{hashlib.blake2b(topic.encode(), digest_size=20).hexdigest()}"


class Passage(asyncio.PriorityQueue[Operation]):
    """A queue whose present content can be waited for. ``join`` waits for an empty one, which a
    busy process never sees. What is overtaken while it is waited for may be still to come."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self._entered = self._left = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def put_nowait(self, item: Operation) -> None:
        super().put_nowait(item)
        self._entered += 1

    def task_done(self) -> None:
        super().task_done()
        self._left += 1
        while self._waiting and self._waiting[0][0] <= self._left:
            _, passed = self._waiting.popleft()
            if not passed.done():
                passed.set_result(None)

    async def passed(self) -> None:
        """Return when ``task_done`` was said of all that is in it now."""
        if self._left < self._entered:
            passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self._entered, passed))
            await passed


class Bus:
    """Topics of one process. All methods belong to the loop's thread unless they say otherwise."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.dropped = 0
        self.healthy = True
        self._layer: Any = get_channel_layer()
        self.shared = not isinstance(self._layer, InMemoryChannelLayer | None)
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._operations: Passage = Passage(WAITING)
        self._serials = itertools.count()
        self._broadcasts = 0
        self._unsettled: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read and write, where there are other processes to speak with."""
        if self.shared:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End both loops."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def subscribe(self, topic: str, listener: Listener) -> None:
        """Hear what other processes publish on a topic."""
        listeners = self._listeners.setdefault(topic, {})
        listeners[listener] = None
        if len(listeners) == 1:
            self._queue(topic)

    def unsubscribe(self, topic: str, listener: Listener) -> None:
        """Stop hearing it; harmless when never subscribed."""
        listeners = self._listeners.get(topic, {})
        listeners.pop(listener, None)
        if not listeners and self._listeners.pop(topic, None) is not None:
            self._queue(topic)

    def publish(self, topic: str, message: Message, *, rank: int = FIRST) -> None:
        """Tell the other processes. Local listeners are the caller's business, and come first.

        With ``rank=LAST``, after all that is more than a broadcast, and only while there is room.
        """
        envelope = {"type": "hub", "topic": topic, "origin": self.node_id, "body": dict(message)}
        self._queue(topic, envelope, rank)

    async def carried(self) -> None:
        """Return when the layer has taken, or lost, all that was published until now."""
        if self._task is not None:
            await self._operations.passed()

    def _queue(self, topic: str, envelope: Message | None = None, rank: int = FIRST) -> None:
        """To be sent; without an envelope, to be joined or left, whichever is right by then."""
        if not self.shared:
            return
        try:
            if rank == LAST and self._broadcasts >= BROADCASTS_WAITING:
                raise asyncio.QueueFull  # noqa: TRY301 - lost like what finds the queue full
            self._operations.put_nowait((rank, next(self._serials), topic, envelope))
        except asyncio.QueueFull:
            self._lost(topic, envelope)
        else:
            self._broadcasts += rank == LAST

    def _lost(self, topic: str, envelope: Message | None) -> None:
        self.dropped += 1
        if envelope is not None:
            return
        if not self._unsettled:
            asyncio.get_running_loop().call_later(RETRY_S, self._settle)
        self._unsettled[topic] = None

    def _settle(self) -> None:
        """Ask again for what the layer did not join or leave."""
        topics, self._unsettled = self._unsettled, {}
        for topic in topics:
            self._queue(topic)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CARRIES_WITHIN_S):
                    channel = await self._layer.new_channel()
            except Exception:
                self.healthy = False
                log.warning("the channel layer gave no channel", exc_info=True)
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.gather(self._read(channel), self._write(channel))

    async def _write(self, channel: str) -> None:
        while True:
            rank, _, topic, envelope = await self._operations.get()
            self._broadcasts -= rank == LAST
            try:
                async with asyncio.timeout(CARRIES_WITHIN_S):
                    await self._carry(topic, envelope, channel)
                self.healthy = True
            except Exception:
                self.healthy = False
                self._lost(topic, envelope)
                log.warning("the channel layer failed to carry", exc_info=True)
            finally:
                self._operations.task_done()

    async def _carry(self, topic: str, envelope: Message | None, channel: str) -> None:
        group = group_name(topic)
        if envelope is not None:
            await self._layer.group_send(group, envelope)
        elif topic in self._listeners:
            await self._layer.group_add(group, channel)
        else:
            await self._layer.group_discard(group, channel)

    async def _read(self, channel: str) -> None:
        while True:
            try:
                self._deliver(await self._layer.receive(channel))
            except Exception:
                log.warning("the channel layer failed to receive", exc_info=True)
                await asyncio.sleep(RETRY_S)

    def _deliver(self, envelope: Mapping[str, Any]) -> None:
        if envelope.get("origin") == self.node_id:
            return
        for listener in list(self._listeners.get(envelope["topic"], ())):
            try:
                listener(envelope["body"])
            except Exception:
                log.exception("a listener to %s failed", envelope["topic"])
