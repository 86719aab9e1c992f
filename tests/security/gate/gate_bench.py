"""A gate with two kinds of messages, and genuine messages to spoil."""

from typing import Any

import pytest

from security.gate import SERVICE_CODES, Door, Gate, PayloadRule, Signed
from security.refusals import Refused
from security.signatures import MessageKey
from security.strictjson import Bounds

NOW = 1_800_000_000_000
DRIFT = 15_000
GRACE = 5_000
NONCE = "n" * 22
WHERE = {"namespace": "/", "principal": "user:1", "sid": "s" * 20}
KEY = MessageKey(b"k" * 32, direction="c2s", **WHERE)
RULES = {
    "click": PayloadRule(max_bytes=64),
    "tree": PayloadRule(max_bytes=4_096, bounds=Bounds(depth=2, nodes=4, string=8)),
}
DOOR = Door(scope="user", drift_ms=DRIFT, nonce_grace_ms=GRACE, rules=RULES)
ENGINE_DOOR = Door(
    scope="engine", drift_ms=30_000, nonce_grace_ms=GRACE, rules=RULES, codes=SERVICE_CODES
)


class Nonces:
    """A store that records what it is asked, and answers what it is told."""

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def consume(
        self, scope: str, principal: str, nonce: str, *, expires_at_ms: int, now_ms: int
    ) -> Any:
        self.asked.append((scope, principal, nonce, expires_at_ms, now_ms))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def gate(nonces: Nonces | None = None, door: Door = DOOR) -> Gate:
    return Gate(door, nonces or Nonces())


def envelope(**changes: Any) -> dict[str, Any]:
    """A genuine message, signed after the changes unless they name the signature."""
    message = {"type": "click", "payload": "{}", "ts": NOW, "nonce": NONCE, **changes}
    if "sig" not in changes:
        signable = {key: message[key] for key in ("type", "ts", "nonce", "payload")}
        message["sig"] = KEY.sign(**signable)
    return message


def refusal(message: object, *, now_ms: int = NOW, door: Door = DOOR, event: str = "") -> Refused:
    with pytest.raises(Refused) as caught:
        gate(door=door).verify(message, key=KEY, now_ms=now_ms, event=event)
    return caught.value


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in envelope().items() if key not in keys}


SIG = envelope()["sig"]
SIGNED = Signed("click", "{}", NOW, NONCE)
