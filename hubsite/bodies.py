"""Counts request bodies while they stream in, before Django spools them to disk.

How large a body may be is decided from the head of the request alone (``limit_of``): 64 KiB, unless
an engine has proved that this very upload is its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson

from security import violations
from security.addresses import client_address, trusted
from security.refusals import rule
from security.violations import Incident

__all__ = ["BoundedBodies"]

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Limit = Callable[[str, str, Mapping[str, str]], Awaitable[int]]

CODE: Final = "payload_too_large"


class BoundedBodies:
    """ASGI middleware: 413 as soon as a body is known to be too large, by its head or by count."""

    def __init__(self, app: App, *, limit_of: Limit) -> None:
        self._app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = _headers(scope)
        limit = await self._limit_of(scope["method"], scope["path"], headers)
        declared = headers.get("Content-Length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
            await _refuse(scope, send)
            return
        body = _Counted(scope, receive, send, limit)
        await self._app(scope, body.receive, body.send)


class _Counted:
    """One request's body under a limit. Passing it answers 413 and cuts the application off."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._left = limit
        self._started = False
        self._cut = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left >= 0 or self._cut:
            return message
        self._cut = True
        if not self._started:
            await _refuse(self._scope, self._send)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self._started = True
        if not self._cut:
            await self._send(message)


def _headers(scope: Scope) -> dict[str, str]:
    """The request's headers by their canonical names; repeated ones are joined, as by Django."""
    headers: dict[str, str] = {}
    for name, value in scope.get("headers", ()):
        key, text = name.decode("latin-1").title(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


async def _refuse(scope: Scope, send: Send) -> None:
    peer, headers = scope.get("client"), _headers(scope)
    ip = client_address(peer[0] if peer else None, headers.get("X-Forwarded-For"), trusted())
    violations.report(
        Incident(
            kind=CODE,
            code=CODE,
            ip=ip or None,
            event_type="http",
            detail={"method": scope["method"], "path": scope["path"][:200]},
        )
    )
    body = orjson.dumps({"code": CODE, "message": rule(CODE).message})
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),  # the rest of the body is not read
    ]
    await send({"type": "http.response.start", "status": 413, "headers": head})
    await send({"type": "http.response.body", "body": body})
