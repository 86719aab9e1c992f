"""Requests that reached another process than the one of their session, carried there over the bus.

What crosses the bus are the messages of ASGI themselves: the process that has the connection (the
edge) sends what it receives to the owner of the session, which runs its own application on it and
sends back what that answers. So polls, POSTs and upgrades work behind any round-robin proxy.

Layers lose messages silently, hence each direction counts; and a process may die, hence the owner
gives a sign of life. A gap, or silence, ends the line, and with it the session: the client starts
anew. Section "No sticky sessions" of docs/protocol.md.
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

__all__ = ["Application", "Relay"]

log = logging.getLogger(__name__)

Application = Callable[[Any, Any, Any], Awaitable[None]]

OPENS_S: Final = 2.0  # without a first answer the owner is taken for dead
SILENCE_S: Final = 5.0
BEAT_S: Final = 2.0
WAITING: Final = 1_000  # messages of one line that may wait at their destination
CLOSE_UNSAID: Final = 1006
CLOSE_TRY_AGAIN_LATER: Final = 1013
OPEN: Final = frozenset({"websocket.accept", "websocket.send"})
PORTABLE: Final = ("type", "method", "path", "query_string", "headers", "client", "scheme")


class LineBroken(Exception):
    """A message is missing, too many wait, or the other side is silent."""


class Line:
    """One connection between its edge and the owner of its session, seen from either end."""

    def __init__(self, bus: Bus, name: str, other: str) -> None:
        self._bus = bus
        self._name = name
        self._topic = topic_of(other)
        self._sent = 0
        self._heard = 0
        self._incoming: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def say(self, kind: str, data: object = None) -> None:
        """Send a message."""
        body = {"line": self._name, "node": self._bus.node_id, "kind": kind, "data": data}
        self._bus.publish(self._topic, {**body, "serial": self._sent})
        self._sent += 1

    async def tell(self, message: dict[str, Any]) -> None:
        """Send a message of ASGI, and wait until the layer has taken it."""
        self.say("asgi", message)
        await self._bus.carried()

    def hear(self, message: Mapping[str, Any]) -> None:
        """A message has come; one that is out of line breaks it."""
        if message["serial"] != self._heard or self._incoming.qsize() >= WAITING:
            self._incoming.put_nowait(None)
            return
        self._heard += 1
        self._incoming.put_nowait(dict(message))

    async def next(self) -> dict[str, Any]:
        """The next message. Raises LineBroken."""
        message = await self._incoming.get()
        if message is None:
            raise LineBroken
        return message


class Relay:
    """The lines of one process: those it carries, and those that end at its sessions."""

    def __init__(self, bus: Bus, applications: Mapping[str, Application]) -> None:
        self._bus = bus
        self._applications = applications
        self._lines: dict[str, Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Hear what other processes send."""
        self._bus.subscribe(topic_of(self._bus.node_id), self._hear)

    async def stop(self) -> None:
        """End all that runs here for other processes."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, message: Mapping[str, Any]) -> None:
        line = self._lines.get(message["line"])
        if line is not None:
            line.hear(message)
        elif message["kind"] == "open":
            self._open(message)

    # -- at the edge

    async def carry(self, owner: str, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection by the process that has its session."""
        name = secrets.token_urlsafe(12)
        line = self._lines[name] = Line(self._bus, name, owner)
        line.say("open", {key: scope[key] for key in PORTABLE if key in scope})
        pump = asyncio.create_task(self._pump(line, receive))
        answered = False
        try:
            async for message in self._answers(line):
                answered = True
                async with asyncio.timeout(SILENCE_S):  # a client that does not read
                    await send(message)
        except (LineBroken, TimeoutError):
            with contextlib.suppress(OSError, RuntimeError):
                await self._give_up(scope, send, answered=answered)
        except OSError:
            """The client has gone; the owner hears so below."""
        finally:
            del self._lines[name]
            pump.cancel()
            line.say("gone")

    async def _answers(self, line: Line) -> AsyncIterator[dict[str, Any]]:
        """What the owner sends, until it ends. Raises LineBroken or TimeoutError."""
        patience_s, last = OPENS_S, ""
        while True:
            async with asyncio.timeout(patience_s):
                message = await line.next()
            patience_s = SILENCE_S
            if message["kind"] == "end" and last in OPEN:
                raise LineBroken  # the owner has lost the session
            if message["kind"] == "end":
                return
            if message["kind"] == "asgi":
                last = message["data"]["type"]
                yield message["data"]

    async def _pump(self, line: Line, receive: Receive) -> None:
        """What the connection brings, one message after the other."""
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
        scope = (await line.next())["data"]
        beats = asyncio.create_task(self._beat(line))
        gone = {"type": f"{scope['type']}.disconnect", "code": CLOSE_UNSAID}

        async def receive() -> dict[str, Any]:
            try:
                message = await line.next()
            except LineBroken:
                return gone
            return gone if message["kind"] == "gone" else message["data"]

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


def topic_of(node_id: str) -> str:
    """The topic that only one process hears."""
    return f"relay:{node_id}"
