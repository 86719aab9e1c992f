"""A client that sends whatever it is told to: bare frames over a WebSocket, bare HTTP.

Client libraries refuse to misbehave, so packets are written by hand here. Nothing is judged.
"""

import asyncio
import contextlib
import itertools
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from security.signatures import MessageKey, from_base64url, socket_key, to_base64url

__all__ = ["CLIENT_NONCE", "Actor", "Member", "Wire", "fetch", "handshake_status", "joined"]

ADDRESS: Final = "/socket.io/?EIO=4&transport=websocket"
ANSWER_S: Final = 10.0
CLIENT_NONCE: Final = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody whom the drill may be: a token, and the secret that belongs to it."""

    token: str
    secret: bytes
    namespace: str = "/"
    refresh: str = ""

    def __repr__(self) -> str:
        return f"Actor({self.namespace!r}, <secret>)"


class Wire:
    """One WebSocket. ``code`` is its close code once the hub has closed it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._frames: list[str] = []
        self._news = asyncio.Condition()
        self._acks = itertools.count()
        self.code: int | None = None
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, *, origin: str = "", query: str = "") -> Self:
        """Raises InvalidStatus where the handshake is refused."""
        socket = await connect(
            url.replace("http", "ws", 1) + ADDRESS + query,
            additional_headers={"Origin": origin} if origin else {},
            compression=None,
            ping_interval=None,
            max_size=None,
            proxy=None,
        )
        return cls(socket)

    async def close(self) -> None:
        await self._socket.close()
        await self._reading

    async def send(self, *frames: str | bytes) -> None:
        """Send frames; a connection that the hub closes meanwhile is no fault."""
        with contextlib.suppress(ConnectionClosed):
            for frame in frames:
                await self._socket.send(frame)

    async def join(self, auth: object, namespace: str = "/") -> dict[str, Any]:
        """CONNECT with a payload; returns ``session``, or the refusal's ``data``."""
        where = _where(namespace)
        text = "" if auth is None else orjson.dumps(auth).decode()
        await self.send(f"40{where}{text}")
        no, yes = f"44{where}", f'42{where}["session",'
        frame = await self._until(lambda each: each.startswith((no, yes)))
        said = orjson.loads(frame[len(f"42{where}") :])
        data: dict[str, Any] = said["data"] if frame.startswith(no) else said[1]
        return data

    async def call(self, event: str, body: object, namespace: str = "/") -> dict[str, Any]:
        """Send an event and return its acknowledgement. Raises ConnectionError when closed."""
        where, ack_id = _where(namespace), next(self._acks)
        await self.send(f"42{where}{ack_id}{orjson.dumps([event, body]).decode()}")
        head = f"43{where}{ack_id}["
        frame = await self._until(lambda each: each.startswith(head))
        answer: dict[str, Any] = orjson.loads(frame[len(head) - 1 :])[0]
        return answer

    async def closed(self) -> int:
        """Wait until the hub closes; returns the code. Raises TimeoutError."""
        async with asyncio.timeout(ANSWER_S):
            await asyncio.shield(self._reading)
        return self.code or 0

    async def _until(self, wanted: Callable[[str], bool]) -> str:
        async with asyncio.timeout(ANSWER_S), self._news:
            while True:
                for frame in self._frames:
                    if wanted(frame):
                        return frame
                if self.code is not None:
                    raise ConnectionError(f"closed {self.code}")
                await self._news.wait()

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in self._socket:
                async with self._news:
                    self._frames.append(frame if isinstance(frame, str) else frame.hex())
                    self._news.notify_all()
                if frame == "2":
                    await self._socket.send("3")
        async with self._news:
            self.code = self._socket.close_code
            self._news.notify_all()


class Member:
    """An actor who has joined, and signs as well as misuses its key."""

    def __init__(self, wire: Wire, actor: Actor, session: Mapping[str, Any]) -> None:
        self.wire, self.actor, self.session = wire, actor, session
        self._ahead_ms = session["server_time"] - time.time_ns() // 1_000_000
        self.key = self._key()

    def sign(self, kind: str, payload: object = None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - wire data
        """An envelope; ``fields`` (ts, nonce) replace what it would be given."""
        text = payload if isinstance(payload, str) else orjson.dumps(payload).decode()
        nonce = secrets.token_urlsafe(18)
        said = {"type": kind, "payload": text, "ts": self.now_ms(), "nonce": nonce, **fields}
        envelope = {**said, "sig": self.key.sign(**said)}
        if self.actor.namespace != "/":
            del envelope["type"]
        return envelope

    def now_ms(self) -> int:
        """The hub's time."""
        return time.time_ns() // 1_000_000 + int(self._ahead_ms)

    async def act(self, envelope: object) -> str:
        """Send an action; returns ``ok``, the refusal, or ``closed CODE``."""
        return await self.report("action", envelope)

    async def report(self, event: str, envelope: object) -> str:
        """Send an event; returns as ``act``."""
        try:
            answer = await self.wire.call(event, envelope, self.actor.namespace)
        except ConnectionError as closed:
            return str(closed)
        return "ok" if answer.get("ok") else str(answer.get("error"))

    def _key(self) -> MessageKey:
        place = {
            "namespace": self.actor.namespace,
            "principal": self.session["principal"],
            "sid": self.session["sid"],
        }
        derived = socket_key(
            self.actor.secret,
            server_nonce=from_base64url(self.session["server_nonce"]),
            client_nonce=CLIENT_NONCE,
            direction="c2s",
            **place,
        )
        return MessageKey(derived, direction="c2s", **place)


@contextlib.asynccontextmanager
async def joined(url: str, actor: Actor) -> AsyncIterator[Member]:
    """A socket of an actor that has joined. Raises ConnectionError where it is refused."""
    wire = await Wire.open(url)
    try:
        auth = {"token": actor.token, "client_nonce": to_base64url(CLIENT_NONCE)}
        session = await wire.join(auth, actor.namespace)
        if "server_nonce" not in session:
            raise ConnectionError(str(session.get("code")))
        yield Member(wire, actor, session)
    finally:
        await wire.close()


async def handshake_status(url: str, *, origin: str = "", query: str = "") -> str:
    """How a handshake is answered: ``open``, or ``HTTP 403``."""
    try:
        wire = await Wire.open(url, origin=origin, query=query)
    except InvalidStatus as refused:
        return f"HTTP {refused.response.status_code}"
    except InvalidHandshake as broken:
        return type(broken).__name__
    await wire.close()
    return "open"


async def fetch(
    url: str, method: str = "GET", *, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """The status and the JSON object of an HTTP answer, errors too. Raises OSError."""
    data = body if isinstance(body, bytes) else None if body is None else orjson.dumps(body)
    request = urllib.request.Request(  # noqa: S310 - the operator's own address
        url, data, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    return await asyncio.to_thread(_fetch, request)


def _fetch(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310 - as above
            return answer.status, _object(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, _object(refused.read())


def _object(raw: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _where(namespace: str) -> str:
    return "" if namespace == "/" else f"{namespace},"
