"""The one door: every signed message passes these checks, cheap ones first, or raises Refused.

The numbers are those of docs/security.md, "Order of checks": 4 envelope, 5 type, 6 window,
7 signature, 8 nonce, 9 payload. Earlier checks belong to the transport, later ones to the handler.
Before 8 nothing has changed anywhere; a nonce is burned only by an authentic message.
"""

import hashlib
import re
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias

from security import strictjson
from security.refusals import Refused
from security.signatures import MessageKey
from security.strictjson import DEFAULT_BOUNDS, Bounds, JsonValue

__all__ = ["SERVICE_CODES", "WEB_CODES", "Door", "Gate", "NonceStore", "PayloadRule", "Signed"]

Step: TypeAlias = Literal[
    "expired",
    "envelope",
    "type",
    "window",
    "signature",
    "replay",
    "payload",
    "too_large",
    "too_complex",
    "busy",
    "rate",
]

WEB_CODES: Mapping[Step, str] = {
    "expired": "auth_expired",
    "envelope": "malformed",
    "type": "unknown_type",
    "window": "timestamp_expired",
    "signature": "invalid_signature",
    "replay": "replay_detected",
    "payload": "payload_invalid",
    "too_large": "payload_too_large",
    "too_complex": "payload_too_complex",
    "busy": "try_again",
    "rate": "rate_limited",
}
SERVICE_CODES: Mapping[Step, str] = {
    "expired": "AUTH_EXPIRED",
    "envelope": "ENGINE_PACKET_INCOMPLETE",
    "type": "ENGINE_PACKET_INCOMPLETE",
    "window": "ENGINE_TIMESTAMP_EXPIRED",
    "signature": "ENGINE_SIGNATURE_INVALID",
    "replay": "ENGINE_NONCE_REPLAY",
    "payload": "PAYLOAD_INVALID",
    "too_large": "PAYLOAD_INVALID",
    "too_complex": "PAYLOAD_INVALID",
    "busy": "TRY_AGAIN",
    "rate": "RATE_LIMITED",
}

TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")  # 22 characters of base64url are 128 random bits
SIGNATURE = re.compile(r"[0-9a-f]{64}")
SHORTEST_TS, LONGEST_TS = 0, 2**53  # JavaScript's safe integers
KEYS_SHOWN = 8  # of an envelope with the wrong keys; a hostile one has a hundred thousand


class NonceStore(Protocol):
    """Remembers used nonces; see ``realtime.state``. May raise StoreFull, which refuses."""

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> bool | Awaitable[bool]:
        """Whether this is the first use. A shared store answers later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadRule:
    """How large and how complex the payload of one type may be: bytes of text, and its bounds."""

    max_bytes: int
    bounds: Bounds = DEFAULT_BOUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What is particular about one namespace: its window, its types, and its words for no."""

    scope: str
    drift_ms: int
    nonce_grace_ms: int
    rules: Mapping[str, PayloadRule]
    codes: Mapping[Step, str] = field(default_factory=lambda: WEB_CODES)


@dataclass(slots=True)  # as good as frozen, which would double the cost of making one per message
class Signed:
    """A message whose envelope could be read; ``verify`` returns it when all else is right, too."""

    type: str
    payload: str
    ts: int
    nonce: str

    @property
    def payload_sha256(self) -> str:
        """The digest that a violation keeps instead of the payload."""
        # A lone surrogate has no bytes; the digest of such a payload is of what is left.
        return hashlib.sha256(self.payload.encode(errors="replace")).hexdigest()

    def blame(self, refusal: Refused) -> Refused:
        """Note on a refusal that it is about this message; the first message noted stays."""
        if not refusal.event_type:
            refusal.event_type, refusal.payload_sha256 = self.type, self.payload_sha256
        return refusal


class Gate:
    """The checks of one door."""

    def __init__(self, door: Door, nonces: NonceStore) -> None:
        self.door = door
        self._nonces = nonces

    def verify(self, message: object, *, key: MessageKey, now_ms: int, event: str = "") -> Signed:
        """Checks 4 to 7. ``event`` names the type where the envelope does not carry one.

        Raises Refused; nothing has been consumed.
        """
        signed, sig = self._open(message, event)
        door = self.door
        rule = door.rules.get(signed.type)
        if rule is None:
            raise self._refused("type", "unknown", signed, seen=signed.type)
        size = self._size(signed.payload)
        if size > rule.max_bytes:
            raise self._refused("too_large", "payload", signed, seen=size, limit=rule.max_bytes)
        if not -door.drift_ms <= now_ms - signed.ts <= door.drift_ms:
            raise self._refused(
                "window", "outside", signed, seen=signed.ts, now=now_ms, drift_ms=door.drift_ms
            )
        if not key.verify(
            type=signed.type, ts=signed.ts, nonce=signed.nonce, payload=signed.payload, sig=sig
        ):
            raise self._refused("signature", "mismatch", signed)
        return signed

    def consume(self, signed: Signed, *, principal: str, now_ms: int) -> Awaitable[None] | None:
        """Check 8: burn the nonce. None means done; else await it. Raises Refused for a replay."""
        door = self.door
        try:
            first = self._nonces.consume(
                door.scope,
                principal,
                signed.nonce,
                expires_at_ms=signed.ts + door.drift_ms + door.nonce_grace_ms,
                now_ms=now_ms,
            )
        except OverflowError:
            raise self._refused("busy", "nonce_store_full", signed) from None
        if first is True:
            return None
        if first is False:
            raise self._refused("replay", "nonce_used", signed)
        return self._await_first(first, signed)

    def read(self, signed: Signed) -> JsonValue:
        """Check 9: the payload as JSON. Raises Refused; the nonce stays burned."""
        try:
            return strictjson.loads(signed.payload, bounds=self.door.rules[signed.type].bounds)
        except strictjson.PayloadTooComplex as fault:
            raise self._refused("too_complex", fault.reason, signed) from None
        except strictjson.StrictJsonError as fault:
            raise self._refused("payload", fault.reason, signed) from None

    async def _await_first(self, first: Awaitable[bool], signed: Signed) -> None:
        try:
            fresh = await first
        except OverflowError:
            raise self._refused("busy", "nonce_store_full", signed) from None
        if not fresh:
            raise self._refused("replay", "nonce_used", signed)

    def _open(self, message: object, event: str) -> tuple[Signed, str]:
        """Check 4: exact keys, exact types, lengths and alphabets."""
        if type(message) is not dict:
            raise self._refused("envelope", "not_an_object")
        if message.keys() != (_SERVICE_KEYS if event else _WEB_KEYS):
            raise self._refused(
                "envelope", "keys", seen=sorted(map(str, islice(message, KEYS_SHOWN)))
            )
        kind = event or message["type"]
        nonce, sig = message["nonce"], message["sig"]
        payload, ts = message["payload"], message["ts"]
        # The letters of a known type need no look; those of any other go into records.
        if type(kind) is not str or (kind not in self.door.rules and TYPE.fullmatch(kind) is None):
            raise self._refused("envelope", "type")
        if type(nonce) is not str or NONCE.fullmatch(nonce) is None:
            raise self._refused("envelope", "nonce")
        if type(sig) is not str or SIGNATURE.fullmatch(sig) is None:
            raise self._refused("envelope", "sig")
        if type(payload) is not str:
            raise self._refused("envelope", "payload")
        if type(ts) is not int or not SHORTEST_TS <= ts < LONGEST_TS:
            raise self._refused("envelope", "ts")
        return Signed(kind, payload, ts, nonce), sig

    def _size(self, payload: str) -> int:
        if payload.isascii():
            return len(payload)
        try:
            return len(payload.encode())
        except UnicodeEncodeError:  # a lone surrogate has no bytes, so nobody can have signed it
            raise self._refused("envelope", "payload") from None

    def _refused(
        self,
        step: Step,
        reason: str,
        about: Signed | None = None,
        **detail: Any,  # noqa: ANN401 - facts for staff
    ) -> Refused:
        refusal = Refused(self.door.codes[step], reason=reason, detail=detail)
        return refusal if about is None else about.blame(refusal)


_SERVICE_KEYS = frozenset({"payload", "ts", "nonce", "sig"})
_WEB_KEYS = _SERVICE_KEYS | {"type"}
