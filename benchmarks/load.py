"""The load: many clients in one process, cheap enough never to be what is measured.

Frames are signed, encoded and masked before the clock runs; what arrives is told apart by its
first characters and otherwise only counted. It is no Socket.IO client for any other purpose.
"""

import asyncio
import base64
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from websockets.frames import Frame, Opcode

from benchmarks.servers import Login
from security.signatures import MessageKey, from_base64url, socket_key, to_base64url

__all__ = ["Client", "connect"]

PONG: Final = Frame(Opcode.TEXT, b"3").serialize(mask=True)
JOIN_WITHIN_S: Final = 60.0
TWO_BYTE_LENGTH: Final = 126

Progress = Callable[[], None]


class Client(asyncio.Protocol):
    """One socket. ``acks`` and ``updates`` count what came; ``refused`` keeps unwelcome acks."""

    def __init__(self, login: Login, host: str) -> None:
        self._login = login
        self._host = host
        self._buffer = b""
        self._upgraded = False
        self._transport: asyncio.Transport
        self._client_nonce = secrets.token_bytes(32)
        self._key: MessageKey
        self._ready: deque[bytes] = deque()
        self.joined = asyncio.get_running_loop().create_future()
        self.acks = self.updates = 0
        self.refused: list[bytes] = []
        self.on_ack: Progress = _nothing
        self.on_update: Progress = _nothing

    # -- what a benchmark asks for

    def prepare(self, count: int, kind: str, payload: object) -> None:
        """Sign and encode so many actions, dated now."""
        text, now = json.dumps(payload, separators=(",", ":")), int(time.time() * 1000)
        self._ready = deque(self._action(number, kind, text, now) for number in range(count))

    def send_prepared(self, count: int = 1) -> None:
        """Send the next prepared actions in one write; fewer when they run out."""
        ready = self._ready
        if ready:
            self._transport.write(
                b"".join([ready.popleft() for _ in range(min(count, len(ready)))])
            )

    async def act(self, kind: str, payload: object) -> None:
        """Send one action and wait for its answer."""
        answered = asyncio.get_running_loop().create_future()
        self.on_ack = lambda: answered.set_result(None)
        self.prepare(1, kind, payload)
        self.send_prepared()
        await answered
        self.on_ack = _nothing

    def close(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._transport.write(
            (
                f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._host}\r\n"
                f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self._fail(head)
                return
            self._upgraded, self._buffer = True, rest
        self._read_frames()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc)

    # -- frames

    def _read_frames(self) -> None:
        buffer, at, acks, updates = self._buffer, 0, 0, 0
        while (frame := _frame_at(buffer, at)) is not None:
            start, at = frame
            if buffer.startswith(b"43", start):
                acks += 1
                if not buffer.find(b'"ok":true', start, at) > 0:
                    self.refused.append(buffer[start:at])
            elif buffer.startswith(b'42["action_update"', start):
                updates += 1
            else:
                self._receive(buffer[start:at])
        self._buffer = buffer[at:]
        self._count(acks, updates)

    def _count(self, acks: int, updates: int) -> None:
        if updates:
            self.updates += updates
            self.on_update()
        if acks:
            self.acks += acks
            self.on_ack()

    def _receive(self, text: bytes) -> None:
        if text == b"2":
            self._transport.write(PONG)
        elif text.startswith(b"0{"):
            auth = {"token": self._login.token, "client_nonce": to_base64url(self._client_nonce)}
            self._send("40" + json.dumps(auth))
        elif text.startswith(b'42["session"'):
            self._join(json.loads(text[2:])[1])
        elif text.startswith(b"44"):
            self._fail(text)

    def _join(self, session: dict[str, Any]) -> None:
        where: dict[str, Any] = {
            "direction": "c2s",
            "namespace": "/",
            "principal": session["principal"],
            "sid": session["sid"],
        }
        key = socket_key(
            self._login.secret,
            server_nonce=from_base64url(session["server_nonce"]),
            client_nonce=self._client_nonce,
            **where,
        )
        self._key = MessageKey(key, **where)
        if not self.joined.done():
            self.joined.set_result(None)

    def _action(self, number: int, kind: str, payload: str, now: int) -> bytes:
        nonce = secrets.token_urlsafe(18)
        body = {"type": kind, "payload": payload, "ts": now, "nonce": nonce}
        body["sig"] = self._key.sign(type=kind, ts=now, nonce=nonce, payload=payload)
        text = f"42{number}" + json.dumps(["action", body], separators=(",", ":"))
        return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)

    def _send(self, text: str) -> None:
        self._transport.write(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))

    def _fail(self, why: object) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError(f"not joined: {why!r}"))


def _frame_at(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at ``at`` begins and ends; None while it is incomplete."""
    if len(buffer) < at + 2:
        return None
    size, start = buffer[at + 1], at + 2
    if size >= TWO_BYTE_LENGTH:
        start += 2 if size == TWO_BYTE_LENGTH else 8
        size = int.from_bytes(buffer[at + 2 : start], "big")
    return None if len(buffer) < start + size else (start, start + size)


def _nothing() -> None:
    """Nobody waits for this."""


async def connect(
    address: tuple[str, int], logins: Iterable[Login], *, at_once: int = 16
) -> list[Client]:
    """Join one client per login, ``at_once`` of them at a time."""
    turn, loop = asyncio.Semaphore(at_once), asyncio.get_running_loop()
    host = f"{address[0]}:{address[1]}"

    async def join(login: Login) -> Client:
        async with turn, asyncio.timeout(JOIN_WITHIN_S):
            _, client = await loop.create_connection(lambda: Client(login, host), *address)
            await client.joined
            return client

    return await asyncio.gather(*(join(login) for login in logins))
