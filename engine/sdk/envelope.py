"""The signed envelope of `/engine`: sealing what the engine says, opening what the hub says.

Pure but for the randomness of nonces: the time is an argument. The form is docs/wire.md's
``{payload, ts, nonce, sig}``, the order of checks docs/security.md's: form, window, signature,
nonce, payload. A nonce is remembered only if the message was authentic.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from engine.sdk.errors import BadMessage
from security.signatures import MessageKey, socket_key
from security.strictjson import Bounds, StrictJsonError, loads

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
WINDOW_MS: Final = 30_000  # docs/security.md, "Order of checks", 6: engines and agents
NONCE_KEPT_MS: Final = WINDOW_MS + 5_000  # docs/security.md

# A world of 1,000 entities and 256 quests has about 30,000 values; the hub wrote it, so the bound
# only keeps a mistake from filling the memory.
BOUNDS: Final = Bounds(depth=24, nodes=100_000, string=65_536)

_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = frozenset({"payload", "ts", "nonce", "sig"})


class Envelope(TypedDict):
    """A signed message on the wire; `payload` is JSON text, `ts` the hub's time in ms."""

    payload: str
    ts: int
    nonce: str
    sig: str


class Secret(bytes):
    """The 32 bytes that the hub gave this engine; printing them shows nothing."""

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__


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


def fresh_nonce() -> str:
    """Return a nonce that nobody has used: 192 random bits in 32 characters."""
    return secrets.token_urlsafe(24)


class Sealer:
    """Signs the engine's messages of one connection."""

    def __init__(self, key: MessageKey) -> None:
        self._key = key

    def seal(self, event: str, body: Mapping[str, Any], *, now_ms: int) -> Envelope:
        """Return `body` in a new envelope. Raises `ValueError` or `TypeError` if it is no JSON."""
        payload = json.dumps(body, allow_nan=False, separators=(",", ":"))
        nonce = fresh_nonce()
        sig = self._key.sign(type=event, ts=now_ms, nonce=nonce, payload=payload)
        return {"payload": payload, "ts": now_ms, "nonce": nonce, "sig": sig}


class Opener:
    """Checks and reads the hub's messages of one connection.

    The memory of nonces grows only by authentic messages and is swept once a window, so it holds
    at most what the hub says in two windows.
    """

    def __init__(self, key: MessageKey) -> None:
        self._key = key
        self._used: dict[str, int] = {}  # nonce -> when it may be forgotten
        self._sweep_at_ms = 0

    def open(self, event: str, message: object, *, now_ms: int) -> dict[str, Any]:
        """Return the payload of an authentic, fresh message. Raises `BadMessage`."""
        envelope = _envelope(message)
        if not -WINDOW_MS <= now_ms - envelope["ts"] <= WINDOW_MS:
            raise BadMessage("timestamp_expired")
        if not self._key.verify(
            type=event,
            ts=envelope["ts"],
            nonce=envelope["nonce"],
            payload=envelope["payload"],
            sig=envelope["sig"],
        ):
            raise BadMessage("invalid_signature")
        self._consume(envelope, now_ms=now_ms)
        return _payload(envelope["payload"])

    def _consume(self, envelope: Envelope, *, now_ms: int) -> None:
        if envelope["nonce"] in self._used:
            raise BadMessage("replay_detected")
        self._used[envelope["nonce"]] = envelope["ts"] + NONCE_KEPT_MS
        if now_ms >= self._sweep_at_ms:
            self._used = {nonce: until for nonce, until in self._used.items() if until > now_ms}
            self._sweep_at_ms = now_ms + WINDOW_MS


def _envelope(message: object) -> Envelope:
    if not isinstance(message, dict) or message.keys() != _KEYS:
        raise BadMessage("malformed")
    payload, ts, nonce, sig = (message[key] for key in ("payload", "ts", "nonce", "sig"))
    if type(ts) is not int or not 0 <= ts < 2**53 or not isinstance(payload, str):
        raise BadMessage("malformed")
    if not (_matches(_NONCE, nonce) and _matches(_SIGNATURE, sig)):
        raise BadMessage("malformed")
    return {"payload": payload, "ts": ts, "nonce": nonce, "sig": sig}


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _payload(text: str) -> dict[str, Any]:
    try:
        value = loads(text, bounds=BOUNDS)
    except StrictJsonError as fault:
        raise BadMessage(fault.reason) from fault
    if not isinstance(value, dict):
        raise BadMessage("payload_invalid")
    return value
