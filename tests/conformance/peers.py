"""A peer that speaks to a server frame by frame and body by body, and helps with nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

__all__ = ["Peer", "Said", "Wire"]

WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Said:
    """An HTTP answer."""

    status: int
    text: str
    headers: Any = None


class Wire:
    """An open WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, *frames: str | bytes) -> None:
        """Send frames as they are."""
        for frame in frames:
            if isinstance(frame, str):
                await self._socket.send_str(frame)
            else:
                await self._socket.send_bytes(frame)

    async def next(self) -> str | bytes:
        """The next frame. Raises TimeoutError, or ConnectionError once it is closed."""
        message = await self._socket.receive(timeout=WITHIN_S)
        if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            raise ConnectionError(message)
        data: str | bytes = message.data
        return data

    async def next_packet(self) -> str | bytes:
        """The next frame that is no ping; pings are answered."""
        while (frame := await self.next()) == "2":
            await self.send("3")
        return frame

    def cut(self) -> None:
        """Let the connection go without a word."""
        transport: Any = self._socket.get_extra_info("transport") or self._socket._response
        (transport.abort if hasattr(transport, "abort") else transport.close)()

    async def closed(self) -> int | None:
        """Wait until the server closes; returns the code."""
        while True:
            message = await self._socket.receive(timeout=WITHIN_S)
            if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
                return self._socket.close_code


class Peer:
    """One client of a server's path."""

    def __init__(self, http: aiohttp.ClientSession, origin: str, path: str) -> None:
        self._http = http
        self._url = f"{origin}{path}"

    async def request(self, method: str, body: Any = None, **query: str) -> Said:
        """Ask with a query exactly as given."""
        headers = {} if body is None else {"Content-Type": "text/plain;charset=UTF-8"}
        answer = self._http.request(method, self._url, params=query, data=body, headers=headers)
        async with asyncio.timeout(WITHIN_S), answer as said:
            return Said(said.status, await said.text(), said.headers)

    async def get(self, sid: str, **query: str) -> Said:
        """Poll."""
        return await self.request("GET", EIO="4", transport="polling", sid=sid, **query)

    async def post(self, sid: str, body: Any) -> Said:
        """Push a payload."""
        return await self.request("POST", body, EIO="4", transport="polling", sid=sid)

    async def open_polling(self) -> str:
        """Shake hands over HTTP; returns the session's id."""
        said = await self.request("GET", EIO="4", transport="polling")
        assert said.status == 200
        sid: str = json.loads(said.text[1:])["sid"]
        return sid

    @asynccontextmanager
    async def websocket(self, **query: str) -> AsyncIterator[Wire]:
        """Connect with a query exactly as given; nothing is read yet."""
        async with self._http.ws_connect(self._url, params=query, autoclose=False) as socket:
            yield Wire(socket)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Wire]:
        """Connect and read the open packet."""
        async with self.websocket(EIO="4", transport="websocket") as wire:
            assert str(await wire.next()).startswith("0{")
            yield wire

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[Wire]:
        """Connect and join "/"."""
        async with self.opened() as wire:
            await wire.send("40")
            assert str(await wire.next_packet()).startswith("40{")
            assert await wire.next_packet() == '42["auth",{}]'
            yield wire
