"""A person whose connection breaks and who comes back as stock clients do. Lean: many per process.

It speaks WebSocket, Engine.IO and Socket.IO just well enough to join "/", to follow its feed and to
answer pings; what it need not understand it counts.
"""

import asyncio
import base64
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from websockets.frames import Frame, Opcode

from security.signatures import to_base64url

# The stock client's own numbers (socket.io-client 4.8, Manager): 1 s, doubled up to 5 s, +-50 %.
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 5.0
JITTER = 0.5
JOINS_WITHIN_S = 20.0  # the stock client's connect timeout
PONG = Frame(Opcode.TEXT, b"3").serialize(mask=True)
TWO_BYTES, EIGHT_BYTES = 126, 127
CLOSE = 8
NORMAL = (1000).to_bytes(2, "big")
MISSED = b'42["job_error",'

Address = tuple[str, int]
Hear = Callable[[bytes], None]


class Returner:
    """One person with one socket; ``missed`` are the feed events that came, by their numbers."""

    def __init__(self, number: int, token: str, *, ip: str, hear: Hear | None = None) -> None:
        self.number = number
        self.token = token
        self.ip = ip
        self.hear = hear
        self.troubles: Counter[str] = Counter()
        self.session: dict[str, Any] = {}
        self.feed: dict[str, Any] = {}
        self.missed: list[int] = []
        self.joined_at = 0.0
        self.joins = 0
        self.present = asyncio.Event()
        self._link: Link | None = None

    async def join(self, addresses: Sequence[Address]) -> None:
        """Come in, trying again for as long as it takes."""
        delay_s = FIRST_DELAY_S
        while not await self._try(random.choice(addresses)):  # noqa: S311 - spreads load
            await asyncio.sleep(delay_s * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - as above
            delay_s = min(LONGEST_DELAY_S, delay_s * 2)

    async def come_back(self, addresses: Sequence[Address]) -> None:
        """As ``join``, after the pause that follows a break."""
        await asyncio.sleep(FIRST_DELAY_S * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - as above
        await self.join(addresses)

    def send(self, text: str) -> None:
        """A frame of Socket.IO's."""
        assert self._link is not None
        self._link.send(text)

    def close(self) -> None:
        """Say the WebSocket's close."""
        assert self._link is not None
        self._link.transport.write(Frame(Opcode.CLOSE, NORMAL).serialize(mask=True))

    def leave(self) -> None:
        """Drop the connection, after what was said."""
        if self._link is not None:
            self._link.transport.close()

    async def _try(self, address: Address) -> bool:
        self.present.clear()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(JOINS_WITHIN_S):
                _, self._link = await loop.create_connection(lambda: Link(self, address), *address)
                await self._link.joined
        except (OSError, TimeoutError) as trouble:
            self.troubles[str(trouble) or type(trouble).__name__] += 1
            self.leave()
            return False
        self.present.set()
        return True

    # -- what its link tells

    def auth(self) -> str:
        """The payload of CONNECT: with the feed's position, from the second time on."""
        auth: dict[str, Any] = {
            "token": self.token,
            "client_nonce": to_base64url(secrets.token_bytes(32)),
        }
        if self.feed:
            auth["feed"] = self.feed
        return json.dumps(auth)

    def greet(self, session: dict[str, Any]) -> None:
        """The hub's ``session``."""
        self.session, self.joined_at = session, time.monotonic()
        self.joins += 1
        if not self.feed:
            self.feed = {"epoch": session["feed"]["epoch"], "after": session["feed"]["head"]}

    def follow(self, frame: bytes) -> None:
        """An event of the feed."""
        seq = json.loads(frame[2:])[1]["seq"]
        self.missed.append(seq)
        self.feed["after"] = seq


class Link(asyncio.Protocol):
    """One connection of a person."""

    def __init__(self, person: Returner, address: Address) -> None:
        self._person = person
        self._host = f"{address[0]}:{address[1]}"
        self._buffer = bytearray()
        self._upgraded = False
        self.transport: asyncio.Transport
        self.joined = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.transport.write(
            (
                f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._host}\r\n"
                f"X-Forwarded-For: {self._person.ip}\r\n"
                f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            status = head.split(b"\r\n", 1)[0]
            if b" 101 " not in status:
                self._fail(status.decode())
                return
            self._upgraded, self._buffer = True, bytearray(rest)
        self._read_frames()

    def connection_lost(self, exc: Exception | None) -> None:
        self._person.present.clear()
        self._fail("lost")

    def send(self, text: str) -> None:
        """A text frame."""
        self.transport.write(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))

    def _read_frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            size, start = buffer[at + 1], at + 2
            if size >= TWO_BYTES:
                start += 2 if size == TWO_BYTES else 8
                size = int.from_bytes(buffer[at + 2 : start], "big")
            if len(buffer) < start + size:
                break
            opcode, at = buffer[at] & 15, start + size
            self._receive(opcode, bytes(buffer[start:at]))
        del buffer[:at]

    def _receive(self, opcode: int, frame: bytes) -> None:
        person = self._person
        if opcode == CLOSE:
            self.transport.close()
        elif frame == b"2":
            self.transport.write(PONG)
        elif frame.startswith(b"0{"):
            self.send("40" + person.auth())
        elif frame.startswith(b'42["session"'):
            person.greet(json.loads(frame[2:])[1])
        elif frame.startswith(MISSED):
            person.follow(frame)
        elif frame.startswith(b"44"):
            self._fail(json.loads(frame[2:])["message"])
        elif frame.startswith(b'42["engine_status"') and not self.joined.done():
            self.joined.set_result(None)  # the last of what a newcomer is told
        if person.hear is not None:
            person.hear(frame)

    def _fail(self, why: str) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError(why))
