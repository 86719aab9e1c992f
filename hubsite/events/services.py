"""What is said on "/engine" and "/agent": inside envelopes, whose payloads these are."""

from collections.abc import Mapping
from typing import Final

from hubsite.events.people import ENDS, RENEWED, SAID, SESSION
from hubsite.events.schemas import (
    ANY,
    BOOL,
    INT,
    OBJECT,
    TEXT,
    TIME,
    Schema,
    empty,
    listing,
    shape,
)

__all__ = [
    "AGENT_HEARD",
    "AGENT_SAID",
    "ENGINE_HEARD",
    "ENGINE_SAID",
    "ENVELOPE",
    "PLAIN",
    "REJECTED",
    "SERVICE_ANSWERS",
]

ENVELOPE: Final = shape({"payload": TEXT, "ts": TIME, "nonce": TEXT, "sig": TEXT})
IDS: Final = {"job_id": TEXT, "attempt_id": TEXT}
ATTEMPTS: Final = shape({"attempts": listing(shape(IDS))})
HEARTBEAT: Final = shape({"interval_ms": INT, "disconnect_after_ms": INT})
REAUTH: Final = shape({"token": TEXT})
REJECTED: Final[Schema] = {
    "type": "object",
    "properties": {"reason": TEXT, "message": TEXT, "server_time": TIME, "retry_after_ms": INT},
    "required": ["reason", "message", "server_time"],
}
"""The event ``..._rejected``; some refusals add facts."""

SERVICE_ANSWERS: Final[Mapping[str, Schema]] = {"reauth": RENEWED}

ENGINE_HEARD: Final[Mapping[str, Schema]] = {
    "engine_ready": shape({"capacity": INT, "job_types": listing(TEXT)}, version=TEXT),
    "engine_heartbeat": ATTEMPTS,
    "engine_resume": ATTEMPTS,
    "engine_draining": empty(),
    "engine_error": shape({"code": TEXT, "message": TEXT}, details=ANY),
    "telemetry": OBJECT,
    "job_ack": shape(IDS),
    "job_started": shape(IDS),
    "job_progress": shape({**IDS, "progress": INT}),
    "job_completed": shape({**IDS, "result": OBJECT}),
    "job_failed": shape({**IDS, "error": OBJECT}),
    "job_status": shape({**IDS, "status": TEXT}, progress=INT, result=OBJECT, error=OBJECT),
    "reauth": REAUTH,
}
AGENT_HEARD: Final[Mapping[str, Schema]] = {
    "agent_heartbeat": empty(),
    "agent_update": shape({"user_id": TEXT, "message": TEXT, "reason": TEXT}, in_reply_to=TEXT),
    "reauth": REAUTH,
}

ENGINE_SAID: Final[Mapping[str, Schema]] = {
    "session": shape({**SESSION, "engine": TEXT, "heartbeat": HEARTBEAT}),
    "ready_ack": shape({"server_time": TIME}),
    "heartbeat_ack": {
        "type": "object",
        "properties": {"server_time": TIME},
        "required": ["server_time"],
    },
    "engine_job": shape(
        {
            **IDS,
            "job_type": TEXT,
            "payload": OBJECT,
            "world_spec": OBJECT,
            "execution_params": shape(
                {"priority": TEXT, "timeout_ms": INT, "lease_ms": INT, "finish": BOOL}
            ),
            "build_id": TEXT,
            "world_sha256": TEXT,
            "submitted_at": TIME,
            "user_id": TEXT,
        }
    ),
    "job_abort": shape({**IDS, "reason": TEXT}),
    **ENDS,
}
AGENT_SAID: Final[Mapping[str, Schema]] = {
    "session": shape({**SESSION, "agent": TEXT, "rooms": listing(TEXT), "heartbeat": HEARTBEAT}),
    "action_update": SAID["action_update"],
    **ENDS,
}

PLAIN: Final = frozenset({"session", *ENDS})
"""What the hub says to services without an envelope; rejections, too."""
