"""Connection state recovery of a site of several processes: what a break missed, kept in Redis.

A client may come back to any process, also when the one it was on has stopped. Each process writes
the events that it makes into one stream for each namespace, bounded in number, bytes and age, and
the memberships that break off on it into a table; taking one up removes it there, in one step.

While Redis is away events are sent as ever, but not kept: who breaks off meanwhile is a new client.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from realtime.offsets import LATE_MS, Frontier, Offset, label, offset_of
from realtime.protocol import Frame, Frames, engineio, socketio
from realtime.recovery import Break, RecoveryLimits
from realtime.recoverytail import Kept, Tail
from realtime.state.errors import StateUnreachable
from realtime.state.health import Health
from realtime.state.link import KEY_PREFIX, Link, Reply, Script

if TYPE_CHECKING:  # the node is handed in
    from realtime.node import Node

__all__ = ["RedisRecovery"]

log = logging.getLogger(__name__)

FORGET_S: Final = 10.0  # without anybody who comes back
# Between hearing of a room again and reading what was kept: as long as an event may be on its way
# to the stream while it has passed on the channel layer.
SETTLE_S: Final = 0.05
SUBSCRIBES_WITHIN_S: Final = 2.0
SKEW_S: Final = 1.0  # between the clocks of whoever sent an event and whoever let somebody in

_CLOCK: Final = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

REMEMBER: Final = Script(
    _CLOCK
    + """
local most, size_limit, life_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('XADD', KEYS[1], '*', 'e', ARGV[4])
local size = redis.call('INCRBY', KEYS[2], #ARGV[4])
local count = redis.call('XLEN', KEYS[1])
while count > 0 do
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    local age_ms = now_ms - tonumber(string.match(first[1], '^%d+'))
    if count <= most and size <= size_limit and age_ms <= life_ms then
        break
    end
    redis.call('XDEL', KEYS[1], first[1])
    size = redis.call('DECRBY', KEYS[2], #first[2][2])
    count = count - 1
end
redis.call('PEXPIRE', KEYS[1], life_ms * 2)
redis.call('PEXPIRE', KEYS[2], life_ms * 2)
"""
)
"""KEYS events, their size; ARGV most events, most bytes, longest life in ms, the event."""

KEEP: Final = Script(
    _CLOCK
    + """
local most, life_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
local now_us = time[1] * 1000000 + time[2]  -- many break off within one millisecond
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now_us, ARGV[1])
local function forget(names)
    for _, name in ipairs(names) do
        redis.call('HDEL', KEYS[1], name)
        redis.call('ZREM', KEYS[2], name)
    end
end
local last_us = now_us - life_ms * 1000
forget(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', last_us, 'LIMIT', 0, 100))
local surplus = redis.call('ZCARD', KEYS[2]) - most
if surplus > 0 then
    forget(redis.call('ZRANGE', KEYS[2], 0, surplus - 1))
end
redis.call('PEXPIRE', KEYS[1], life_ms * 2)
redis.call('PEXPIRE', KEYS[2], life_ms * 2)
"""
)
"""KEYS breaks, their times; ARGV name, what is kept, most of them, longest life in ms."""

TAKE: Final = Script(
    _CLOCK
    + """
local kept, at = redis.call('HGET', KEYS[1], ARGV[1]), redis.call('ZSCORE', KEYS[2], ARGV[1])
if not kept or not at or now_ms - at / 1000 > tonumber(ARGV[3]) then
    return false
end
local whose = ARGV[2] .. '\\n'
if string.sub(kept, 1, #whose) ~= whose then
    return false
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return string.sub(kept, #whose + 1)
"""
)
"""KEYS breaks, their times; ARGV name, identity, longest life in ms. What was kept, once."""


class _Held:
    """Stands in a client's rooms while what it missed is read, and keeps what comes meanwhile."""

    def __init__(self, sid: str) -> None:
        self.id = sid
        self.events: list[Frames] = []

    def send_encoded(self, frames: Collection[Frame], *, volatile: bool = False) -> None:
        """As ``fanout.Member``."""
        if not volatile:
            self.events.append(tuple(frames))


class RedisRecovery:
    """For ``Server(recovery=RedisRecovery(url))``; ``limits`` are those of each namespace.

    Identities, and what ``Namespace.keep`` gives, have to be what JSON can carry. ``prefix`` tells
    several sites on one Redis apart.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        limits: RecoveryLimits | None = None,
        prefix: str = f"{KEY_PREFIX}recovery:",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = Link(url, health=Health())
        self._limits = limits or RecoveryLimits()
        self._life_ms = int(self._limits.break_s * 1000)
        self._prefix = prefix
        self._clock = clock
        self._process = secrets.token_urlsafe(6)
        self._number = 0
        self._frontier = Frontier()
        self._tails: dict[str, tuple[Tail, asyncio.TimerHandle]] = {}
        self._asked: asyncio.Future[Reply] | None = None
        self._node: Node

    def bind(self, node: "Node") -> None:
        """As ``Recovery.bind``."""
        self._node = node

    async def aclose(self) -> None:
        """As ``Recovery.aclose``; who broke off last is in Redis after this, if that answers."""
        if self._asked is not None:
            await asyncio.wait([self._asked], timeout=self._link.timeout_s * 2)
        for _, forget in self._tails.values():
            forget.cancel()
        self._tails.clear()
        await self._link.aclose()

    # -- events

    def record(
        self,
        namespace: str,
        args: Sequence[Any],
        *,
        rooms: Collection[str],
        without: Collection[str] = (),
        now: float,
    ) -> Frames:
        """As ``Recovery.record``. Raises what ``socketio.encode_event`` raises."""
        at_ms, self._number = int(self._clock() * 1000), self._number + 1
        offset = self._frontier.passed(self._process, self._number, at_ms)
        frames = socketio.encode_event(namespace, [*args, str(offset)])
        texts = [
            each if isinstance(each, str) else engineio.binary_as_text(each) for each in frames
        ]
        event = orjson.dumps({"f": texts, "r": list(rooms), "x": list(without)})
        limits = self._limits
        self._ask(REMEMBER, namespace, "es", limits.events, limits.size, self._life_ms, event)
        return frames

    def heard(self, frames: Collection[Frame]) -> Collection[Frame]:
        """As ``Recovery.heard``."""
        event = tuple(frames)
        theirs = offset_of(event)
        if theirs is None:
            return frames
        return label(event, self._frontier.passed(theirs.process, theirs.number, theirs.at_ms))

    # -- memberships that broke off

    def keep(self, gone: Break) -> None:
        """As ``Recovery.keep``."""
        shift = self._clock() - gone.at  # to a time that means something in other processes
        kept = {
            "sid": gone.sid,
            "rooms": {room: since + shift for room, since in gone.rooms.items()},
            "state": gone.state,
        }
        try:
            value = _identity(gone.identity) + b"\n" + orjson.dumps(kept)
        except TypeError:
            log.exception("%s: what JSON cannot carry is not recovered", gone.namespace)
            return
        most = self._limits.sessions
        self._ask(KEEP, gone.namespace, "bt", _name(gone.pid), value, most, self._life_ms)

    async def take(
        self, pid: str, offset: str, *, namespace: str, identity: Hashable, now: float
    ) -> tuple[Break, Sequence[Frame]] | None:
        """As ``Recovery.take``."""
        seen = Offset.parse(offset)
        if seen is None:
            return None
        # TypeError: an identity that JSON cannot carry, of which nothing was kept.
        with contextlib.suppress(StateUnreachable, TypeError):
            if await self._kept(namespace, seen):
                gone = await self._claim(pid, namespace, identity, now)
                return None if gone is None else (gone, await self._missed(gone, seen, now))
        return None

    async def _kept(self, namespace: str, seen: Offset) -> bool:
        """Whether the last event that was seen is still there, and so all that followed it."""
        tail, start_ms = self._tail(namespace), seen.at_ms - LATE_MS
        if not tail.holds(seen, start_ms=start_ms):
            await tail.read(start_ms)
        return tail.holds(seen, start_ms=start_ms)

    async def _claim(
        self, pid: str, namespace: str, identity: Hashable, now: float
    ) -> Break | None:
        asked = self._ask(TAKE, namespace, "bt", _name(pid), _identity(identity), self._life_ms)
        kept = await self._link.answer(asked)
        if kept is None:
            return None
        data, shift = orjson.loads(kept), now - self._clock()
        return Break(
            pid=pid,
            sid=data["sid"],
            namespace=namespace,
            rooms={room: since + shift for room, since in data["rooms"].items()},
            identity=identity,
            state=data["state"],
            at=now,
        )

    async def _missed(self, gone: Break, seen: Offset, now: float) -> Sequence[Frame]:
        with self._listening(gone) as held:
            await self._subscribed()
            tail, start_ms = self._tail(gone.namespace), seen.at_ms - LATE_MS
            await tail.read(start_ms)
            events = tail.since(start_ms)
        shift = now - self._clock()
        missed = [
            each
            for each in events
            if not seen.covers(each.offset)
            and gone.missed(each.event, at=each.offset.at_ms / 1000 + shift + SKEW_S)
        ]
        heard, frames = dict(seen.heard), list[Frame]()
        for each in missed:
            one = each.offset
            heard[one.process] = max(one.number, heard.get(one.process, 0))
            so_far = Offset(one.at_ms, one.process, heard[one.process], dict(heard))
            frames += label(each.event.frames, so_far)
        return frames + _not_among(missed, held, seen)

    @contextmanager
    def _listening(self, gone: Break) -> Iterator[list[Frames]]:
        """Hear what is sent to the rooms, until whoever asked has had the time to enter them.

        That is within this turn of the loop: were the rooms empty in between, the channel layer
        would be told to stop and to begin again, and what passes meanwhile be lost.
        """
        held, fanout = _Held(gone.sid), self._node.fanout
        for room in gone.rooms:
            fanout.join(gone.namespace, room, held)

        def leave() -> None:
            for room in gone.rooms:
                fanout.leave(gone.namespace, room, held)

        try:
            yield held.events
        finally:
            asyncio.get_running_loop().call_soon(leave)

    async def _subscribed(self) -> None:
        bus = self._node.bus
        if bus.shared:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SUBSCRIBES_WITHIN_S):
                    await bus.carried()
            await asyncio.sleep(SETTLE_S)

    # -- Redis

    def _ask(
        self, script: Script, namespace: str, kinds: str, *args: str | bytes | int
    ) -> "asyncio.Future[Reply] | None":
        keys = [f"{self._prefix}{kind}:{namespace}" for kind in kinds]
        asked = self._link.evaluate(script, keys, *args)
        self._asked = asked or self._asked
        return asked

    def _tail(self, namespace: str) -> Tail:
        """What was read of the events lately, to be forgotten a while after its last use."""
        tail, forget = self._tails.get(namespace, (None, None))
        if tail is None or forget is None:
            key, most = f"{self._prefix}e:{namespace}", self._limits.events
            tail = Tail(self._link, key, namespace, most=most)
        else:
            forget.cancel()
        loop = asyncio.get_running_loop()
        later = loop.call_later(FORGET_S, self._tails.pop, namespace, None)
        self._tails[namespace] = tail, later
        return tail


def _not_among(missed: list[Kept], held: list[Frames], seen: Offset) -> list[Frame]:
    """What came while it was read and is not part of that."""
    told = {(each.offset.process, each.offset.number) for each in missed}
    offsets = [(frames, offset_of(frames)) for frames in held]
    return [
        frame
        for frames, offset in offsets
        if offset is None or not (seen.covers(offset) or (offset.process, offset.number) in told)
        for frame in frames
    ]


def _name(pid: str) -> bytes:
    """What a private id is known by in Redis: whoever reads that cannot take a session up."""
    return hashlib.blake2b(pid.encode(errors="replace"), digest_size=18).hexdigest().encode()


def _identity(identity: Hashable) -> bytes:
    return orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
