"""The frames of a flood: each is hostile in its own way, and the code that it must be refused with.

``OK`` marks the genuine ones between them, which must be taken all along.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.hostile.raw import Member

__all__ = ["ENGINE_FRAMES", "OK", "PERSON_FRAMES", "Attack", "Sent"]

OK: Final = "ok"
DEEP: Final = "[" * 40 + "]" * 40
LATE_MS: Final = 300_000
LARGE: Final = '"' + "x" * 9_000 + '"'

Sent = tuple[str, tuple[object, ...]]
"""An event and its arguments."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to be hostile; ``used`` is a message that was accepted a moment ago."""

    error: str
    make: Callable[[Member, dict[str, Any]], Sent]


def _action(error: str, forge: Callable[[Member, dict[str, Any]], object]) -> Attack:
    return Attack(error, lambda who, used: ("action", (forge(who, used),)))


def _event(error: str, name: str, *args: object) -> Attack:
    return Attack(error, lambda _who, _used: (name, args))


def _spoiled(who: Member, **fields: object) -> dict[str, Any]:
    return {**who.sign("click", {"x": 1}), **fields}


def _late(who: Member, _used: dict[str, Any]) -> dict[str, Any]:
    return who.sign("click", ts=who.now_ms() - LATE_MS)


PERSON_FRAMES: Final[Sequence[Attack]] = (
    _action("malformed", lambda _who, _used: {}),
    _action("malformed", lambda who, _used: _spoiled(who, role="staff")),
    _action("malformed", lambda who, _used: _spoiled(who, ts=True)),
    _action("malformed", lambda who, _used: _spoiled(who, sig="A" * 64)),
    _action("unknown_type", lambda who, _used: who.sign("drop_tables", {})),
    _action("timestamp_expired", _late),
    _action("invalid_signature", lambda who, _used: _spoiled(who, sig=secrets.token_hex(32))),
    _action("invalid_signature", lambda who, _used: _spoiled(who, payload='{"x":2}')),
    _action("replay_detected", lambda _who, used: used),
    _action("payload_invalid", lambda who, _used: who.sign("click", '{"a":1,"a":2}')),
    _action("payload_invalid", lambda who, _used: who.sign("presence", {"state": "dead"})),
    _action("payload_too_complex", lambda who, _used: who.sign("click", DEEP)),
    _action("payload_too_large", lambda who, _used: who.sign("click", LARGE)),
    _action("not_found", lambda who, _used: who.sign("room_leave", {"room": "nowhere"})),
    _event("malformed", "action"),
    _event("malformed", "heartbeat", [1]),
    _event("unknown_type", "__class__", 1),
    _event("unknown_type", "engine_job", {}),
    _event(OK, "heartbeat"),
)


def _report(error: str, event: str, forge: Callable[[Member, dict[str, Any]], object]) -> Attack:
    return Attack(error, lambda who, used: (event, (forge(who, used),)))


def _beat(who: Member, **fields: Any) -> dict[str, Any]:
    return who.sign("engine_heartbeat", {"attempts": []}, **fields)


ENGINE_FRAMES: Final[Sequence[Attack]] = (
    _report("ENGINE_PACKET_INCOMPLETE", "job_completed", lambda _who, _used: {}),
    _report("ENGINE_PACKET_INCOMPLETE", "spawn", lambda who, _used: _beat(who)),
    _report("ENGINE_SIGNATURE_INVALID", "telemetry", lambda who, _used: _beat(who)),
    _report(
        "ENGINE_SIGNATURE_INVALID",
        "engine_heartbeat",
        lambda who, _used: {**_beat(who), "sig": secrets.token_hex(32)},
    ),
    _report(
        "ENGINE_TIMESTAMP_EXPIRED",
        "engine_heartbeat",
        lambda who, _used: _beat(who, ts=who.now_ms() - LATE_MS),
    ),
    _report("ENGINE_NONCE_REPLAY", "engine_heartbeat", lambda _who, used: used),
    _report(
        "PAYLOAD_INVALID",
        "job_progress",
        lambda who, _used: who.sign("job_progress", '{"a":1,"a":2}'),
    ),
)
