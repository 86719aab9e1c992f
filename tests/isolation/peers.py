"""Sockets that never read, and what becomes of them."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any, Final

from security.signatures import to_base64url
from tests.hostile.raw import ADDRESS, CLIENT_NONCE

__all__ = ["Deaf"]

RECEIVES: Final = 4_096  # bytes that the kernel keeps for it; the less, the sooner a write waits
TEXT: Final = 0x81
MASKED: Final = 0x80
ENDS_WITHIN_S: Final = 60.0


class Deaf:
    """A WebSocket by hand: it joins, and from then on takes not one byte from its connection."""

    def __init__(self, url: str, who: Mapping[str, Any], *, ip: str) -> None:
        self._host, _, port = url.removeprefix("http://").rpartition(":")
        self._port, self._who, self._ip = int(port), who, ip
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def join(self) -> None:
        """Open, CONNECT, wait for the first event, and stop to read."""
        bare = socket.socket()
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVES)
        bare.setblocking(False)
        await asyncio.get_running_loop().sock_connect(bare, (self._host, self._port))
        self._reader, self._writer = await asyncio.open_connection(sock=bare, limit=RECEIVES)
        head = (
            f"GET {ADDRESS} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {'A' * 22}==\r\nX-Forwarded-For: {self._ip}\r\n\r\n"
        )
        self._writer.write(head.encode())
        await self._reader.readuntil(b"\r\n\r\n")
        auth = {"token": self._who["token"], "client_nonce": to_base64url(CLIENT_NONCE)}
        self._writer.write(_frame(f"40{json.dumps(auth)}"))
        await self._reader.readuntil(b'42["session",')
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # of every socket's transport

    async def ended(self) -> bytes:
        """Read what is left after all, to the end of the connection; returns the last of it."""
        last = b""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(ENDS_WITHIN_S):
                while some := await self._reader.read(65_536):
                    last = (last + some)[-200:]
        self._writer.close()
        return last


def _frame(text: str) -> bytes:
    """A masked text frame with a mask of zeros (RFC 6455, 5.2)."""
    payload = text.encode()
    assert 126 <= len(payload) < 2**16
    return bytes([TEXT, MASKED | 126]) + len(payload).to_bytes(2, "big") + b"\0" * 4 + payload
