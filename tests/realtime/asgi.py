"""The other end of ASGI, in process: clients of a server, and a clock that tests push."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import orjson

from realtime.node import Node
from realtime.server import Server
from realtime.timers import Timers

__all__ = ["Clock", "HttpAnswer", "WebSocket", "clocked", "connect", "join", "request", "settle"]

WITHIN_S = 5.0
EIO = "EIO=4&transport={}"


class Clock:
    """The part of an event loop that Timers uses; time stands still until it is pushed."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._alarms: list[tuple[float, int, SimpleNamespace]] = []
        self._serial = count()

    def time(self) -> float:
        """The time now."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> SimpleNamespace:
        """As the event loop's."""
        alarm = SimpleNamespace(callback=callback)
        alarm.cancel = lambda: setattr(alarm, "callback", None)
        heapq.heappush(self._alarms, (when, next(self._serial), alarm))
        return alarm

    def push(self, seconds: float) -> None:
        """Let time pass, ringing each alarm at its time."""
        until = self.now + seconds
        while self._alarms and self._alarms[0][0] <= until:
            when, _, alarm = heapq.heappop(self._alarms)
            self.now = max(self.now, when)
            if alarm.callback is not None:
                alarm.callback()
        self.now = until


def clocked(server: Server) -> tuple[Node, Clock]:
    """The server's node, on a clock that stands still."""
    node, clock = server.node(), Clock()
    node.now = clock.time
    node.timers = Timers(clock)  # type: ignore[arg-type]  # all that Timers uses of a loop
    return node, clock


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(20):
        await asyncio.sleep(0)


class WebSocket:
    """A client's WebSocket; ``reads.clear()`` makes it a peer that takes nothing."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.aborted = False
        self.breaks: Exception | None = None
        self.task: asyncio.Task[None]

    async def receive(self) -> dict[str, Any]:
        """ASGI's receive."""
        return await self.inbox.get()

    async def deliver(self, message: dict[str, Any]) -> None:
        """ASGI's send."""
        if self.breaks is not None:
            raise self.breaks
        if not self.reads.is_set():
            await self.reads.wait()
        self.frames.put_nowait(message)

    def send(self, *frames: str | bytes) -> None:
        """Frames from the client."""
        for frame in frames:
            kind = "text" if isinstance(frame, str) else "bytes"
            self.inbox.put_nowait({"type": "websocket.receive", kind: frame})

    def leave(self, code: int = 1001) -> None:
        """The client is gone."""
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def next(self) -> str | bytes:
        """The next frame from the server."""
        async with asyncio.timeout(WITHIN_S):
            message = await self.frames.get()
        assert message["type"] == "websocket.send", message
        return message["text"] if "text" in message else message["bytes"]  # type: ignore[no-any-return]  # ASGI

    async def close_code(self) -> int:
        """Read until the server closes."""
        async with asyncio.timeout(WITHIN_S):
            while (message := await self.frames.get())["type"] != "websocket.close":
                pass
        code: int = message["code"]
        return code

    def waiting(self) -> list[Any]:
        """The frames that have come and were not read yet."""
        messages = [self.frames.get_nowait() for _ in range(self.frames.qsize())]
        return [message.get("text", message.get("bytes", message["type"])) for message in messages]


class HttpAnswer(SimpleNamespace):
    """Status, body as text, and headers of an answer."""

    status: int
    body: str
    headers: dict[str, str]

    @property
    def code(self) -> int:
        """Engine.IO's code of a refusal."""
        code: int = orjson.loads(self.body)["code"]
        return code


def scope(kind: str, query: str, headers: Iterable[tuple[str, str]], **more: Any) -> dict[str, Any]:
    """An ASGI scope."""
    return {
        "type": kind,
        "path": "/socket.io/",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.1", 4711),
        "scheme": "ws" if kind == "websocket" else "http",
        "extensions": {},
        **more,
    }


@asynccontextmanager
async def connect(
    server: Server,
    query: str = EIO.format("websocket"),
    headers: Iterable[tuple[str, str]] = (),
    **extensions: Any,
) -> AsyncIterator[WebSocket]:
    """A WebSocket that the server has accepted or refused."""
    socket = WebSocket()
    extensions = {"hub.abort": lambda: setattr(socket, "aborted", True), **extensions}
    facts = scope("websocket", query, headers, extensions=extensions)
    socket.inbox.put_nowait({"type": "websocket.connect"})
    socket.task = asyncio.create_task(server.websocket(facts, socket.receive, socket.deliver))
    async with asyncio.timeout(WITHIN_S):
        first = await socket.frames.get()
    if first["type"] != "websocket.accept":
        socket.frames._queue.appendleft(first)  # type: ignore[attr-defined]  # to put it back
    await settle()
    try:
        yield socket
    finally:
        socket.reads.set()
        socket.leave()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.wait([socket.task])
        await settle()


async def join(socket: WebSocket, namespace: str = "") -> str:
    """Read the open packet if it is there, join, return the Socket.IO id."""
    socket.send(f"40{namespace}")
    while not (frame := str(await socket.next())).startswith("40"):
        assert frame[0] == "0"
    sid: str = orjson.loads(frame[frame.index("{") :])["sid"]
    return sid


async def request(
    server: Server,
    method: str,
    query: str,
    *chunks: bytes,
    headers: Iterable[tuple[str, str]] = (),
    gone: asyncio.Event | None = None,
) -> HttpAnswer:
    """One HTTP request; the client goes away when ``gone`` is set."""
    gone = gone or asyncio.Event()
    coming = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks or (b"",))
    ]
    answer = HttpAnswer(status=0, body="", headers={})

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message["body"].decode()

    async with asyncio.timeout(WITHIN_S):
        await server.http(scope("http", query, headers, method=method), receive, send)
    return answer
