"""Lets pages of allowed origins use the API, as they may use the sockets (CORS, Fetch standard).

No cookie comes with them: the API knows people by their bearer token. Outside of everything that
may refuse a request, so that such a page can read refusals, too.
"""

from http import HTTPStatus
from typing import Any, Final

from realtime.cors import Cors

__all__ = ["CrossOrigin"]

API: Final = "/api/"


class CrossOrigin:
    """ASGI middleware; without allowed origins (``cors`` is None) it does nothing."""

    def __init__(self, app: Any, *, cors: Cors | None) -> None:  # noqa: ANN401 - an ASGI application
        self._app = app
        self._cors = cors

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Answer a preflight; add headers to every other answer of the API."""
        if self._cors is None or scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        asked = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        headers = self._cors.headers(asked.get(b"origin"))
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in asked:
            headers += self._cors.preflight(asked.get(b"access-control-request-headers"))
            await send(_start(HTTPStatus.NO_CONTENT, headers))
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}
