"""Socket.IO by hand over a WebSocket, for tests that must see every frame and the close code.

Stock clients hide close codes and answer heartbeats by themselves; this one answers Engine.IO's
pings and does nothing else that it is not told to.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping
from typing import Any, Self

import aiohttp

from engine.sdk.envelope import Connection, Identity, Sealer, Secret
from engine.sdk.hubapi import HubApi
from engine.sdk.timing import HubClock, Timing
from security.signatures import from_base64url, to_base64url

__all__ = ["EngineWire", "Wire"]

DEADLINE_S = 15.0
ADDRESS = "/socket.io/?EIO=4&transport=websocket"
PING, PONG, CONNECT, EVENT, ACK, CONNECT_ERROR = "2", "3", "40", "42", "43", "44"


class Wire:
    """One WebSocket that joins one namespace."""

    def __init__(self, url: str, namespace: str = "/") -> None:
        self.url = url
        self.close_code: int | None = None
        self._prefix = "" if namespace == "/" else f"{namespace},"
        self._http = aiohttp.ClientSession()
        self._socket: aiohttp.ClientWebSocketResponse
        self._reading: asyncio.Task[None]
        self._heard: dict[str, asyncio.Queue[Any]] = {}
        self._calls = 0

    async def __aenter__(self) -> Self:
        self._socket = await self._http.ws_connect(self.url + ADDRESS)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._socket.close()
        await self._reading
        await self._http.close()

    async def join(self, auth: Mapping[str, Any]) -> Any:
        """CONNECT; returns what the hub answers, the CONNECT's or the refusal's data."""
        await self._socket.send_str(CONNECT + self._prefix + json.dumps(dict(auth)))
        return await self.next("connect")

    async def call(self, event: str, *args: object) -> Any:
        """Send an event; returns the first argument of its acknowledgement."""
        number, self._calls = self._calls, self._calls + 1
        packet = json.dumps([event, *args])
        await self._socket.send_str(f"{EVENT}{self._prefix}{number}{packet}")
        return await self.next(f"ack {number}")

    async def next(self, event: str) -> Any:
        """The next event of that name, kept since it came."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._queue(event).get()

    async def closed(self) -> int | None:
        """Wait for the hub to close; returns the code."""
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(self._reading)
        return self.close_code

    def _queue(self, event: str) -> "asyncio.Queue[Any]":
        return self._heard.setdefault(event, asyncio.Queue())

    async def _read(self) -> None:
        async for message in self._socket:
            frame = str(message.data)
            if frame == PING:
                await self._socket.send_str(PONG)
            else:
                self._receive(frame[:2], frame[2:].removeprefix(self._prefix))
        self.close_code = self._socket.close_code

    def _receive(self, kind: str, body: str) -> None:
        if kind in {CONNECT, CONNECT_ERROR}:
            self._queue("connect").put_nowait(json.loads(body))
        elif kind == ACK:
            number, bracket, answer = body.partition("[")
            self._queue(f"ack {number}").put_nowait(json.loads(bracket + answer)[0])
        elif kind == EVENT:
            event, *args = json.loads(body)
            self._queue(event).put_nowait(args[0] if args else None)


class EngineWire(Wire):
    """An engine that signs truly and says whatever a test wants."""

    def __init__(self, url: str, name: str, secret: str) -> None:
        super().__init__(url, "/engine")
        self._identity = Identity(name, Secret(from_base64url(secret)))
        self._clock = HubClock()
        self._sealer: Sealer

    @property
    def principal(self) -> str:
        """The name that stands in the hub's records."""
        return self._identity.principal

    async def begin(self) -> None:
        """Get a token, join, and derive the key of this connection."""
        api = HubApi(self.url, self._identity, http=self._http, clock=self._clock, timing=Timing())
        client_nonce = secrets.token_bytes(32)
        token = (await api.new_token()).access
        await self.join({"token": token, "client_nonce": to_base64url(client_nonce)})
        session = await self.next("session")
        connection = Connection(
            session["sid"], from_base64url(session["server_nonce"]), client_nonce
        )
        self._sealer = Sealer(connection.key(self._identity, "c2s"))

    def seal(self, event: str, body: Mapping[str, Any], *, late_ms: int = 0) -> dict[str, Any]:
        """The signed envelope of an event, as it would have been ``late_ms`` ago."""
        return dict(self._sealer.seal(event, body, now_ms=self._clock.now_ms() - late_ms))

    async def say(self, event: str, **body: object) -> Any:
        """Send a signed event; returns its acknowledgement."""
        return await self.call(event, self.seal(event, body))
