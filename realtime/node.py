"""What one process has once: its sessions, rooms, timers, and its one channel on the layer."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from realtime.answers import Receive, Send
from realtime.bus import Bus
from realtime.denials import COME_LATER
from realtime.enginesessions import EngineSession, Transport
from realtime.fanout import Fanout
from realtime.handshake import Denial, Handshake
from realtime.longpolling import LongPolling
from realtime.namespaces import Namespace
from realtime.outbox import OutboxLimits
from realtime.policy import Policy
from realtime.protocol import Closed, CloseReason, Limits
from realtime.recovery import Recovery
from realtime.relay import Application, Relay
from realtime.sids import Sids
from realtime.timers import Timers

__all__ = ["Companion", "Node"]

log = logging.getLogger(__name__)

# How long the last words of a closed polling session wait for its next poll, as in the Node server.
LINGER_S = 30.0

REACHABLE_S = 2.0
CLOSE_RESTART = 1012

# How the time of a stop is spent: what a handler in hand may still take, what a polling client may
# take for its last poll (it asks again at once, unless it has gone), what was left to be done in
# the background, and what the bus has yet to carry.
SETTLES_S = 2.0
LAST_POLL_S = 2.0
BACKGROUND_S = 2.0
CARRIED_S = 0.5

Opening = Callable[["Node", Handshake], EngineSession]


class Companion(Protocol):
    """What begins and ends with the process, beside its namespaces."""

    def bind(self, node: "Node") -> None:
        """The process is up: the first socket of any namespace is about to open."""

    async def stop(self) -> None:
        """The process ends; its sockets are gone already."""


class Node:
    """The live part of a server in one process, on one event loop."""

    def __init__(
        self,
        *,
        namespaces: Mapping[str, Namespace[Any]],
        limits: Limits,
        outbox_limits: OutboxLimits,
        inbox_limit: int,
        policy: Policy,
        opening: Opening,
        applications: Mapping[str, Application],
        recovery: Recovery | None = None,
        companions: Sequence[Companion] = (),
        relay_key: bytes | None = None,
    ) -> None:
        self.id = f"n_{secrets.token_urlsafe(9)}"
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.namespaces = namespaces
        self.limits = limits
        self.outbox_limits = outbox_limits
        self.inbox_limit = inbox_limit
        self.policy = policy
        self.sessions: dict[str, EngineSession] = {}
        self.received_before = self.sent_before = 0
        """Frames of sessions that are over."""
        self.parting: dict[str, Transport] = {}
        self._opening = opening
        self._companions = companions
        self.timers = Timers(self.loop)
        self.bus = Bus(self.id)
        relayed = self.bus.shared and relay_key is not None
        self.sids = Sids(self.id, relay_key if relayed else None)
        self._relay = Relay(self.bus, applications, leave=self._leave) if relayed else None
        # Among several processes, one that keeps events to itself would restore with gaps.
        self.recovery = recovery if recovery and recovery.shared >= self.bus.shared else None
        self.fanout = Fanout(self.bus, recovery=self.recovery, now=self.now)
        self.draining = self._wound_up = False
        self.crowd = 0
        """How many sessions are sent away at once; they had better not all come back at once."""
        self._background: set[asyncio.Future[Any]] = set()

    def start(self) -> None:
        """Join the bus and let each namespace and companion begin."""
        self.bus.start()
        if self._relay is not None:
            self._relay.start()
        if self.recovery is not None:
            self.recovery.bind(self)
        for each in (*self._companions, *self.namespaces.values()):
            each.bind(self)

    async def admit(self, handshake: Handshake) -> Denial | None:
        """Whether a new session may begin: never in a process that ends."""
        if self.draining:
            return COME_LATER
        denial = await self.policy.admit(handshake, now=self.now())
        return COME_LATER if self.draining else denial  # it may have begun to end meanwhile

    async def carried(
        self, handshake: Handshake, scope: dict[str, Any], receive: Receive, send: Send
    ) -> bool:
        """Serve a request by the process that owns its session, if that is another one."""
        sid = handshake.query.get("sid")
        if self._relay is None or sid is None or sid in self.sessions:
            return False
        owner = self.sids.owner(sid)
        if owner is None or owner == self.id:
            return False
        await self._relay.carry(owner, scope, receive, send)
        return True

    async def reachable(self) -> None:
        """Return when other processes can reach this one; when the layer is down, after a while."""
        if self._relay is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REACHABLE_S):
                    await self.bus.carried()

    def open(self, handshake: Handshake) -> EngineSession:
        """A new session; its transport is still to come."""
        session = self._opening(self, handshake)
        self.sessions[session.id] = session
        return session

    def forget(self, session: EngineSession, closed: Closed) -> None:
        """A session is over."""
        if self.sessions.pop(session.id, None) is not None:
            self.received_before += session.received
            self.sent_before += session.sent
            whole: Any = session  # see EngineSession.__init__
            self.policy.close(whole, closed)

    def linger(self, sid: str, transport: Transport) -> None:
        """Keep a closed transport a while for the poll that fetches its last words."""
        self.parting[sid] = transport
        self.timers.after(LINGER_S, lambda: self._give_up(sid, transport))

    def _give_up(self, sid: str, transport: Transport) -> None:
        self.parting.pop(sid, None)
        transport.abort()

    @property
    def working(self) -> int:
        """How many pieces of work run in the background."""
        return len(self._background)

    def background(self, work: Awaitable[Any]) -> None:
        """Run something to its end, apart; its failure is logged."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Future[Any]") -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)

    async def drain(self, *, code: int, deadline_s: float) -> None:
        """Close every session with a code and empty the outboxes, at most so long.

        A handler in hand ends first, so that its sender hears what became of it. From now on no
        session begins; whoever has taken nothing until the deadline is let go.
        """
        self.draining = True
        sessions = list(self.sessions.values())
        self.crowd = len(sessions)
        parting = {asyncio.ensure_future(self._part(each, code)): each for each in sessions}
        ends = set(parting)
        if self._relay is not None:
            ends.add(asyncio.ensure_future(self._relay.release()))
        _, late = await asyncio.wait(ends, timeout=deadline_s) if ends else (ends, ends)
        for task in late:
            task.cancel()
            if task in parting:
                parting[task].close(code, CloseReason.SERVER_SHUTTING_DOWN)
                parting[task].abort()

    def _leave(self, scope: dict[str, Any]) -> None:
        """The process that carries a connection of ours ends: the client may come another way.

        A poll only has to be asked again; a session on a WebSocket has lost its only connection.
        """
        session = self.sessions.get(Handshake.from_scope(scope).query.get("sid", ""))
        polling = session is not None and isinstance(session.transport, LongPolling)
        if session is None or polling != (scope["type"] == "http"):
            return
        if isinstance(session.transport, LongPolling):
            session.transport.release()
        else:
            session.close(CLOSE_RESTART, CloseReason.SERVER_SHUTTING_DOWN)

    async def _part(self, session: EngineSession, code: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLES_S):
                await session.settled()
        session.close(code, CloseReason.SERVER_SHUTTING_DOWN)
        transport = session.transport
        asks_again = transport is not None and transport.lingers
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_POLL_S if asks_again else None):
                await session.drained()

    async def wind_up(self) -> None:
        """End what runs in the background, once it is done. Sessions were drained before.

        Requests of sessions of other processes are still carried, until ``stop``.
        """
        if self._wound_up:
            return
        self.draining = self._wound_up = True
        self.timers.stop()
        for each in (*self.namespaces.values(), *self._companions):
            await each.stop()
        await self._finish_background()

    async def stop(self) -> None:
        """End everything: nobody can ask for anything any more."""
        await self.wind_up()
        if self._relay is not None:
            await self._relay.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CARRIED_S):
                await self.bus.carried()
        if self.recovery is not None:
            await self.recovery.aclose()
        await self.bus.stop()

    async def _finish_background(self) -> None:
        """What was begun is done, such as noting that an engine has left; or it is given up."""
        deadline = self.now() + BACKGROUND_S
        while self._background and (left_s := deadline - self.now()) > 0:
            await asyncio.wait(self._background, timeout=left_s)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
