"""What a client says before it may say anything: the facts of one ASGI scope, read once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["ABORT_EXTENSION", "DIRECT_EXTENSION", "Denial", "Handshake"]

# A server that can drop a connection without a closing handshake offers it under this extension
# of the ASGI scope; without it a peer that never reads can only be abandoned.
ABORT_EXTENSION = "hub.abort"
FORWARDED_FOR = "x-forwarded-for"
# A server with a short way for frames offers a ``realtime.direct.Wire`` under this one.
DIRECT_EXTENSION = "hub.direct"


@dataclass(frozen=True, slots=True)
class Denial:
    """A refused handshake: the HTTP status, Engine.IO's error code, and a sentence.

    With a ``close_code`` a WebSocket is accepted first, because only then can a client read it.
    """

    status: int
    code: int
    message: str
    retry_after_ms: int | None = None
    close_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One client's opening request. ``peer`` is the address at the other end of the connection."""

    transport: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str | None
    secure: bool
    abort: Callable[[], None] | None = None
    wire: Any = None  # a realtime.direct.Wire
    parameters: Sequence[tuple[str, str]] = ()  # of the query, also those that are repeated

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> "Handshake":
        """Read an ASGI scope. Repeated parameters and headers count once, the first one.

        Not so X-Forwarded-For: some proxies add a line of their own below the client's.
        """
        text = scope.get("query_string", b"").decode("latin-1")
        parameters = tuple(parse_qsl(text, keep_blank_values=True))
        headers: dict[str, str] = {}
        for name, value in scope.get("headers", ()):
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            repeated = key in headers and key == FORWARDED_FOR
            headers[key] = f"{headers[key]}, {text}" if repeated else headers.get(key, text)
        client, extensions = scope.get("client"), scope.get("extensions") or {}
        return cls(
            transport="websocket" if scope["type"] == "websocket" else "polling",
            path=scope["path"],
            query=dict(reversed(parameters)),
            parameters=parameters,
            headers=headers,
            peer=client[0] if client else None,
            secure=scope.get("scheme") in {"https", "wss"},
            abort=extensions.get(ABORT_EXTENSION),
            wire=extensions.get(DIRECT_EXTENSION),
        )

    @property
    def origin(self) -> str | None:
        """The Origin header, which browsers send and native clients mostly do not."""
        return self.headers.get("origin")

    @property
    def host(self) -> str:
        """The Host header."""
        return self.headers.get("host", "")
