"""Requests that reached another process than the one of their session, carried there over the bus.

What crosses the bus are the messages of ASGI themselves: the process that has the connection (the
edge) sends what it receives to the owner of the session, which runs its own application on it and
sends back what that answers. So polls, POSTs and upgrades work behind any round-robin proxy.

A process may die, hence the owner gives a sign of life. Silence, or a gap in the line, ends it, and
with it the session: the client starts anew. Section "No sticky sessions" of docs/protocol.md.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from realtime.answers import Receive, Send, deny, refusal
from realtime.bus import Bus
from realtime.denials import UNKNOWN_SID
from realtime.handshake import ABORT_EXTENSION
from realtime.lines import SILENCE_S, TAKES_S, Line, LineBroken, topic_of

__all__ = ["Application", "Relay"]

log = logging.getLogger(__name__)

Application = Callable[[Any, Any, Any], Awaitable[None]]

OPENS_S: Final = 2.0  # without a first answer the owner is taken for dead
BEAT_S: Final = 2.0
ENDED: Final = "relay"  # the topic on which a process says that it ends
ENDED_S: Final = 600.0  # no client asks for a session for longer
SILENT_S: Final = 10.0  # it may have been busy, and be back
MOST_MISSED: Final = 1_000
CLOSE_UNSAID: Final = 1006
CLOSE_TRY_AGAIN_LATER: Final = 1013
OPEN: Final = frozenset({"websocket.accept", "websocket.send"})
PORTABLE: Final = ("type", "method", "path", "query_string", "headers", "client", "scheme")


class ReaderStuck(Exception):
    """The client takes nothing, and its session's owner has had the time to say so."""


Leave = Callable[[dict[str, Any]], None]


class Missed:
    """Processes that have ended, or gave no sign: for a while nobody waits for them again."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def note(self, node_id: str, *, until: float) -> None:
        """One is missed until then; of too many the first are forgotten, and waited for again."""
        self._until[node_id] = until
        while len(self._until) > MOST_MISSED:
            del self._until[next(iter(self._until))]

    def clear(self, node_id: str) -> None:
        """It gave a sign."""
        self._until.pop(node_id, None)

    def has(self, node_id: str, now: float) -> bool:
        """Whether it is missed."""
        return self._until.get(node_id, 0.0) > now


class Relay:
    """The lines of one process: those it carries, and those that end at its sessions.

    ``leave(scope)`` is called for a connection whose edge ends and which is served here.
    """

    def __init__(self, bus: Bus, applications: Mapping[str, Application], *, leave: Leave) -> None:
        self._bus = bus
        self._applications = applications
        self._leave = leave
        self._lines: dict[str, Line] = {}
        self._carried: dict[str, Line] = {}
        self._released = asyncio.Event()
        self._missed = Missed()
        self._now = asyncio.get_running_loop().time
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Hear what other processes send."""
        self._bus.subscribe(topic_of(self._bus.node_id), self._hear)
        self._bus.subscribe(ENDED, self._hear_end)

    async def stop(self) -> None:
        """End all that runs here for other processes."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what they said last is on the bus then
        self._bus.publish(ENDED, {"node": self._bus.node_id})

    def _hear_end(self, message: Mapping[str, Any]) -> None:
        self._missed.note(message["node"], until=self._now() + ENDED_S)

    def _hear(self, message: Mapping[str, Any]) -> None:
        self._missed.clear(message["node"])
        line = self._lines.get(message["line"])
        if line is not None:
            line.hear(message)
        elif message["said"][0][0] == "open":
            self._open(message)

    # -- at the edge

    async def carry(self, owner: str, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection by the process that has its session."""
        if self._missed.has(owner, self._now()):
            with contextlib.suppress(OSError, RuntimeError):
                await self._give_up(scope, send, answered=False)
            return
        name = secrets.token_urlsafe(12)
        line = self._lines[name] = self._carried[name] = Line(self._bus, name, owner)
        line.say("open", {key: scope[key] for key in PORTABLE if key in scope})
        pump = asyncio.create_task(self._pump(line, receive))
        beats = asyncio.create_task(self._beat(line))
        answered = False
        try:
            async for message in self._answers(line):
                answered = True
                await self._hand_on(message, send)
        except ReaderStuck:
            (scope.get("extensions") or {}).get(ABORT_EXTENSION, _nothing)()
        except (LineBroken, TimeoutError):
            if line.unheard:
                self._missed.note(owner, until=self._now() + SILENT_S)
            with contextlib.suppress(OSError, RuntimeError):
                await self._give_up(scope, send, answered=answered)
        except OSError:
            """The client has gone; the owner hears so below."""
        finally:
            del self._lines[name], self._carried[name]
            if not self._carried:
                self._released.set()
            pump.cancel()
            beats.cancel()
            line.say("gone")

    async def release(self) -> None:
        """This process ends: ask the owners to let go of what it carries, and wait until they have.

        They know how to say goodbye; all that this process could do is to cut the connections.
        """
        self._released.clear()
        for line in self._carried.values():
            line.say("leave")
        if self._carried:
            await self._released.wait()

    async def _answers(self, line: Line) -> AsyncIterator[dict[str, Any]]:
        """What the owner sends, until it ends. Raises LineBroken or TimeoutError."""
        patience_s, last = OPENS_S, ""
        while True:
            async with asyncio.timeout(patience_s):
                kind, message = await line.next()
            patience_s = SILENCE_S
            if kind == "end" and last in OPEN:
                raise LineBroken  # the owner has lost the session
            if kind == "end":
                return
            if kind == "asgi":
                last = message["type"]
                yield message
                if _is_last(message):
                    return

    async def _hand_on(self, message: dict[str, Any], send: Send) -> None:
        """Send what the owner said to the client. Raises ReaderStuck."""
        try:
            async with asyncio.timeout(TAKES_S):
                await send(message)
        except TimeoutError:
            raise ReaderStuck from None

    async def _pump(self, line: Line, receive: Receive) -> None:
        """What the connection brings, one message after the other."""
        with contextlib.suppress(ConnectionError):  # its owner is gone, as its silence will tell
            while True:
                message = await receive()
                await line.tell(message)
                if message["type"].endswith("disconnect"):
                    return

    async def _give_up(self, scope: dict[str, Any], send: Send, *, answered: bool) -> None:
        if scope["type"] == "http" and not answered:
            await refusal(UNKNOWN_SID).send(send, [])
        elif scope["type"] == "websocket" and not answered:
            await deny(UNKNOWN_SID, scope, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN_LATER})

    # -- at the owner

    def _open(self, message: Mapping[str, Any]) -> None:
        line = self._lines[message["line"]] = Line(self._bus, message["line"], message["node"])
        line.hear(message)
        task = asyncio.get_running_loop().create_task(self._serve(line, message["line"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, line: Line, name: str) -> None:
        _, scope = await line.next()
        beats = asyncio.create_task(self._beat(line))
        gone = {"type": f"{scope['type']}.disconnect", "code": CLOSE_UNSAID}

        async def receive() -> dict[str, Any]:
            """What the edge says, until it is gone, says so or not."""
            try:
                while True:
                    async with asyncio.timeout(SILENCE_S):
                        kind, message = await line.next()
                    if kind == "leave":
                        self._leave(scope)
                    elif kind != "beat":
                        return gone if kind == "gone" else dict(message)
            except (LineBroken, TimeoutError):
                return gone

        try:
            await self._applications[scope["type"]](scope, receive, line.tell)
        except Exception:
            log.exception("a relayed connection failed")
        finally:
            beats.cancel()
            del self._lines[name]
            line.say("end")

    async def _beat(self, line: Line) -> None:
        """A sign of life, at once and then every so often, as long as the line is open."""
        while True:
            line.say("beat")
            await asyncio.sleep(BEAT_S)


def _nothing() -> None:
    """Where the server cannot drop a connection: it ends when the server's own patience does."""


def _is_last(message: Mapping[str, Any]) -> bool:
    """Whether nothing may follow it in ASGI: no need to wait until the owner says so too."""
    kind: str = message["type"]
    ends = kind.endswith("response.body") and not message.get("more_body")
    return ends or kind == "websocket.close"
