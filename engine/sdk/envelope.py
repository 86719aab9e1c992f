"""Who an engine is to the hub, and the keys of its connections to `/engine`.

The envelopes themselves are those of every service: `realtime.envelopes`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from realtime.envelopes import Envelope, Opener, Sealer, Secret, fresh_nonce
from security.signatures import MessageKey, socket_key

__all__ = [
    "NAMESPACE",
    "Connection",
    "Envelope",
    "Identity",
    "Opener",
    "Sealer",
    "Secret",
    "fresh_nonce",
]

NAMESPACE: Final = "/engine"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the engine is; the secret stays out of every repr."""

    name: str
    secret: Secret

    @property
    def principal(self) -> str:
        """The name that stands in signatures."""
        return f"engine:{self.name}"


@dataclass(frozen=True, slots=True)
class Connection:
    """What the keys of one connection are made of, beside the identity."""

    sid: str
    server_nonce: bytes
    client_nonce: bytes

    def key(self, identity: Identity, direction: Literal["c2s", "s2c"]) -> MessageKey:
        """Return one direction's key. Raises `WrongKeyLength` for a nonce of a wrong length."""
        key = socket_key(
            identity.secret,
            server_nonce=self.server_nonce,
            client_nonce=self.client_nonce,
            namespace=NAMESPACE,
            principal=identity.principal,
            sid=self.sid,
            direction=direction,
        )
        return MessageKey(
            key,
            direction=direction,
            namespace=NAMESPACE,
            principal=identity.principal,
            sid=self.sid,
        )
