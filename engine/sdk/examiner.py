"""What a hub checks in whatever an engine sends: every key derived anew, every fault noted.

The half of `engine.sdk.testing` that judges; the other half listens and answers.
"""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from security.signatures import Direction, MessageKey, socket_key, to_base64url

__all__ = ["NAMESPACE", "NONCE_BYTES", "WINDOW_MS", "Connection", "Examiner", "Json"]

NAMESPACE: Final = "/engine"
NONCE_BYTES: Final = 32
WINDOW_MS: Final = 30_000  # either side, for whatever an engine signs

Json = dict[str, Any]


@dataclass
class Connection:
    """One socket of the engine."""

    sid: str
    server_nonce: bytes
    client_nonce: bytes
    token: str
    request: web.Request
    nonces: set[str] = field(default_factory=set)


class Examiner:
    """Knows the secret of one engine, and writes down in `faults` what the engine does wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.principal = f"engine:{name}"
        self.key = secrets.token_bytes(32)
        self.secret = to_base64url(self.key)
        self.clock_ahead_ms = 0
        self.tokens: list[str] = []
        self.faults: list[str] = []
        self._news = asyncio.Event()

    def now_ms(self) -> int:
        """Return the hub's time, milliseconds since the epoch."""
        return int(time.time() * 1000) + self.clock_ahead_ms

    def _verify_http(self, path: str, name: str, payload: str, signed: Json) -> None:
        key = MessageKey(
            self.key, direction="c2s", namespace=path, principal=self.principal, sid=""
        )
        fields = {part: signed[part] for part in ("ts", "nonce", "sig")}
        if not key.verify(type=name, payload=payload, **fields):
            self._fault(f"{name} signature")
        if abs(self.now_ms() - signed["ts"]) > WINDOW_MS:
            self._fault(f"{name} time")

    def _verify_bearer(self, request: web.Request) -> None:
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.tokens:
            self._fault("bearer")

    def _verify(self, connection: Connection, event: str, envelope: Json) -> Json:
        if set(envelope) != {"payload", "ts", "nonce", "sig"}:
            self._fault(f"{event} form")
        if envelope["nonce"] in connection.nonces:
            self._fault(f"{event} nonce")
        connection.nonces.add(envelope["nonce"])
        if abs(self.now_ms() - envelope["ts"]) > WINDOW_MS:
            self._fault(f"{event} time")
        if not self._signer(connection, "c2s").verify(type=event, **envelope):
            self._fault(f"{event} signature")
        body: Json = json.loads(envelope["payload"])
        return body

    def _signer(self, connection: Connection, direction: Direction, key: bytes = b"") -> MessageKey:
        derived = socket_key(
            key or self.key,
            server_nonce=connection.server_nonce,
            client_nonce=connection.client_nonce,
            namespace=NAMESPACE,
            principal=self.principal,
            sid=connection.sid,
            direction=direction,
        )
        return MessageKey(
            derived,
            direction=direction,
            namespace=NAMESPACE,
            principal=self.principal,
            sid=connection.sid,
        )

    def _fault(self, what: str) -> None:
        self.faults.append(what)
        self._news.set()
