"""Hostile engines: a genuine account that says what it must not, event by event."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hostile.raw import Member
from tests.hostile.stage import Stage

Envelope = dict[str, Any]
IDS = {"job_id": "job_nowhere", "attempt_id": "att_nowhere"}

# Each event with a payload that is right in form.
BODIES: dict[str, dict[str, Any]] = {
    "engine_ready": {"capacity": 1, "job_types": ["BUILD_SCENE"], "version": "1"},
    "engine_heartbeat": {"attempts": []},
    "engine_resume": {"attempts": []},
    "engine_draining": {},
    "engine_error": {"code": "x", "message": "y", "details": {"token": "z"}},
    "telemetry": {"fps": 60},
    "job_ack": IDS,
    "job_started": IDS,
    "job_progress": {**IDS, "progress": 50},
    "job_completed": {**IDS, "result": {}},
    "job_failed": {**IDS, "error": {"code": "x", "message": "y", "retryable": False}},
    "job_status": {**IDS, "status": "running"},
    "reauth": {"token": "x"},
}


@dataclass(frozen=True)
class Trick:
    """An event's envelope, and how it is refused."""

    name: str
    event: str
    forge: Callable[[Stage, Member], object]
    error: str


def tricks(event: str) -> list[Trick]:
    """What can be wrong with the envelope of any event."""
    body, other = BODIES[event], "telemetry" if event != "telemetry" else "engine_draining"

    def genuine(_stage: Stage, who: Member, **fields: Any) -> Envelope:
        return who.sign(event, body, **fields)

    def unsigned(stage: Stage, who: Member) -> Envelope:
        return {key: each for key, each in genuine(stage, who).items() if key != "sig"}

    def anothers_key(stage: Stage, who: Member) -> Envelope:
        return who.sign(event, body, key=who.key_for(secret=stage.cast["engine0"]["secret"]))

    def as_other(_stage: Stage, who: Member) -> Envelope:
        return who.sign(other, body)

    def own_direction(_stage: Stage, who: Member) -> Envelope:
        return who.sign(event, body, key=who.sends)

    incomplete, invalid = "ENGINE_PACKET_INCOMPLETE", "ENGINE_SIGNATURE_INVALID"
    return [
        Trick(f"{event} unsigned", event, unsigned, incomplete),
        Trick(f"{event} bare", event, lambda _stage, _who: body, incomplete),
        Trick(f"{event} as text", event, lambda _stage, _who: "{}", incomplete),
        Trick(f"{event} by another's key", event, anothers_key, invalid),
        Trick(f"{event} signed as {other}", event, as_other, invalid),
        Trick(f"{event} in our own direction", event, own_direction, invalid),
        Trick(
            f"{event} too late",
            event,
            lambda stage, who: genuine(stage, who, ts=who.now_ms() - 33_000),
            "ENGINE_TIMESTAMP_EXPIRED",
        ),
    ]


TRICKS = [trick for event in BODIES for trick in tricks(event)]


def said(name: str, event: str, payload: object, error: str) -> Trick:
    """A truly signed event whose content is refused."""
    return Trick(f"{event} {name}", event, lambda _stage, who: who.sign(event, payload), error)


CONTENTS = [
    *(
        said(f"with payload {text[:10]}", event, text, "PAYLOAD_INVALID")
        for event in BODIES
        for text in ("[]", "null", "{", '{"a":1,"a":2}')
    ),
    *(
        said("with a key more", event, {**BODIES[event], "user_id": 1}, "PAYLOAD_INVALID")
        for event in BODIES
        if event != "telemetry"
    ),
    *(
        said("of an unknown job", event, BODIES[event], "JOB_UNKNOWN")
        for event in BODIES
        if event.startswith("job_")
    ),
    *(
        said(f"with ids that are {ids!r}", "job_started", ids, "PAYLOAD_INVALID")
        for ids in ({"job_id": 1, "attempt_id": 2}, {"job_id": None, "attempt_id": []})
    ),
    said("of a status that is no text", "job_status", {**IDS, "status": 5}, "PAYLOAD_INVALID"),
    said("of no status", "job_status", {**IDS, "status": "queued"}, "PAYLOAD_INVALID"),
    said("with 1 MB", "job_completed", {**IDS, "result": {"x": "y" * 900_000}}, "PAYLOAD_INVALID"),
    said("with a person's name", "reauth", {"token": "x"}, "AUTH_INVALID"),
    Trick(
        "reauth as another engine",
        "reauth",
        lambda stage, who: who.sign("reauth", {"token": stage.cast["engine0"]["token"]}),
        "auth_bypass_attempt",
    ),
    Trick(
        "reauth as a person",
        "reauth",
        lambda stage, who: who.sign("reauth", {"token": stage.cast["person0"]["token"]}),
        "AUTH_INVALID",
    ),
]

UNKNOWN_EVENTS = ("spawn", "action", "engine_job", "job_abort", "job_queued", "*", "__class__", 5)
