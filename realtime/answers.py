"""An HTTP request's body and its answer over ASGI, small and never cached, for long-polling."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import orjson

from realtime.handshake import Denial

__all__ = [
    "Answer",
    "BodyTooLarge",
    "ClientGone",
    "Receive",
    "Send",
    "deny",
    "read_body",
    "refusal",
    "until_gone",
]

Receive = Callable[[], Awaitable[dict[str, Any]]]
# A coroutine, not any awaitable: an outbox steps it by hand.
Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]
Headers = list[tuple[bytes, bytes]]

PLAIN: Final = b"text/plain; charset=UTF-8"
JSON: Final = b"application/json"
CLOSE_TRY_AGAIN_LATER: Final = 1013
# How many times the limit is read of a body that is too large, before its client is cut off.
PATIENCE: Final = 4


class BodyTooLarge(Exception):
    """More bytes came than a request may have."""


class ClientGone(Exception):
    """The client went away in the middle of its request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer with its whole body."""

    status: int
    body: bytes = b""
    content_type: bytes = PLAIN
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send, more: Headers, *, kind: str = "http.response") -> None:
        """Send it, with more headers; ``kind`` is the prefix of ASGI's two messages."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
            *self.headers,
            *more,
        ]
        await send({"type": f"{kind}.start", "status": self.status, "headers": headers})
        await send({"type": f"{kind}.body", "body": self.body})


def refusal(denial: Denial) -> Answer:
    """Engine.IO's body of an error: a code and a message."""
    body = orjson.dumps({"code": denial.code, "message": denial.message})
    return Answer(denial.status, body, JSON, tuple(retry_after(denial)))


def retry_after(denial: Denial) -> Headers:
    """When to come back, in whole seconds, where the denial says so."""
    if denial.retry_after_ms is None:
        return []
    return [(b"retry-after", b"%d" % -(-denial.retry_after_ms // 1000))]


async def read_body(receive: Receive, *, limit: int, declared: str | None) -> bytes:
    """Read a body as it streams in. Raises BodyTooLarge or ClientGone.

    A declared length (the Content-Length header) is believed only when it says too much: a chunked
    body has none. What is too much is read on for a while and dropped, because a client that is
    cut off while it sends never sees the answer.
    """
    too_much = declared is not None and declared.isdecimal() and int(declared) > limit
    body, size, more = bytearray(), 0, True
    while more and size <= limit * PATIENCE:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        too_much = too_much or size > limit
        if too_much:
            body.clear()
        else:
            body += chunk
    if too_much:
        raise BodyTooLarge
    return bytes(body)


async def until_gone(receive: Receive, gone: Callable[[], None]) -> None:
    """Call back when the client goes away before it is answered."""
    while (await receive())["type"] != "http.disconnect":
        pass  # the request's own empty body comes first
    gone()


async def deny(denial: Denial, scope: dict[str, Any], send: Send) -> None:
    """Refuse a WebSocket with an HTTP status where the server can, else with a bare close."""
    if denial.close_code is not None:
        with contextlib.suppress(OSError):
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": denial.close_code})
        return
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN_LATER})
        return
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await refusal(denial).send(send, [], kind="websocket.http.response")
