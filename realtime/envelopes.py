"""Signed envelopes as a service says and reads them: sealing, opening, asking for a token.

What engines and agents share on their side of the wire, so it imports nothing of Django. Pure but
for the randomness of nonces: the time is an argument. The form is docs/wire.md's ``{payload, ts,
nonce, sig}``, the order of checks docs/security.md's: form, window, signature, nonce, payload. A
nonce is remembered only if the message was authentic.

    BadMessage           the peer's: a message that the hub cannot have meant; to be dropped
"""

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, TypedDict

from security.signatures import MessageKey
from security.strictjson import Bounds, StrictJsonError, loads

__all__ = [
    "TOKEN_PATH",
    "BadMessage",
    "Envelope",
    "Opener",
    "Sealer",
    "Secret",
    "fresh_nonce",
    "token_request",
]

TOKEN_PATH: Final = "/api/service-token/"  # noqa: S105 - a path, not a token
WINDOW_MS: Final = 30_000  # docs/security.md, "Order of checks", 6: engines and agents
NONCE_KEPT_MS: Final = WINDOW_MS + 5_000  # docs/security.md

# A world of 1,000 entities and 256 quests has about 30,000 values; the hub wrote it, so the bound
# only keeps a mistake from filling the memory.
BOUNDS: Final = Bounds(depth=24, nodes=100_000, string=65_536)

_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = frozenset({"payload", "ts", "nonce", "sig"})


class BadMessage(Exception):
    """A message that is not authentic, not fresh or not of the agreed form; `reason` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not a message of the hub: {self.reason}"


class Envelope(TypedDict):
    """A signed message on the wire; `payload` is JSON text, `ts` the hub's time in ms."""

    payload: str
    ts: int
    nonce: str
    sig: str


class Secret(bytes):
    """The 32 bytes that the hub gave a service; printing them shows nothing."""

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__


def fresh_nonce() -> str:
    """Return a nonce that nobody has used: 192 random bits in 32 characters."""
    return secrets.token_urlsafe(24)


def token_request(kind: str, name: str, secret: bytes, *, now_ms: int) -> dict[str, object]:
    """Return the body of a request for a token, signed with the secret itself."""
    key = MessageKey(
        secret, direction="c2s", namespace=TOKEN_PATH, principal=f"{kind}:{name}", sid=""
    )
    nonce = fresh_nonce()
    sig = key.sign(type="token_request", ts=now_ms, nonce=nonce, payload="")
    return {"kind": kind, "name": name, "ts": now_ms, "nonce": nonce, "sig": sig}


class Sealer:
    """Signs a service's messages of one connection."""

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
