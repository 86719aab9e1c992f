"""Believes a trusted proxy that the browser came by TLS, and nobody else.

The hub itself speaks plain HTTP. Without this, pages would have another origin than the hub sees,
and Django would neither redirect to https nor tell browsers to stay there.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from security.addresses import Network, is_trusted

__all__ = ["ForwardedScheme"]

Scope = dict[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

HEADER: Final = b"x-forwarded-proto"
ENCRYPTED: Final = {"http": "https", "websocket": "wss"}


class ForwardedScheme:
    """ASGI middleware: the scheme of a request is what its trusted proxy says."""

    def __init__(self, app: App, *, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Serve one connection."""
        if scope["type"] in ENCRYPTED and self._came_by_tls(scope):
            scope = {**scope, "scheme": ENCRYPTED[scope["type"]]}
        await self._app(scope, receive, send)

    def _came_by_tls(self, scope: Scope) -> bool:
        client = scope.get("client")
        if not self._trusted or not is_trusted(client[0] if client else None, self._trusted):
            return False
        said = b",".join(value for name, value in scope["headers"] if name.lower() == HEADER)
        # The nearest proxy writes last; what stands before may be the client's own claim.
        return said.rpartition(b",")[2].strip().lower() == b"https"
