"""What is said on "/", by people and to them (docs/wire.md)."""

from collections.abc import Mapping
from typing import Final

from engine.states import State
from hubsite.events.schemas import (
    ANY,
    BOOL,
    INT,
    NOTHING,
    OBJECT,
    TEXT,
    TIME,
    Schema,
    listing,
    nullable,
    one_of,
    shape,
)
from realtime.actions import INTERACTIONS
from security.refusals import RULES

__all__ = ["ACTIONS", "ANSWERS", "ENDS", "HEARD", "RENEWED", "SAID", "SESSION"]

CODE: Final = one_of(*RULES)
FEED: Final = {"seq": INT, "epoch": TEXT}
PLACE: Final = shape({"epoch": TEXT, "head": INT, "recovered": BOOL})
POSITION: Final = shape({"after": INT}, epoch=TEXT)
SIGNED: Final = shape({"type": TEXT, "payload": TEXT, "ts": TIME, "nonce": TEXT, "sig": TEXT})
BEAT: Final = shape({"ok": BOOL, "server_time": TIME})
PAGE: Final = shape(
    {
        "epoch": TEXT,
        "head": INT,
        "recovered": BOOL,
        "events": listing(shape({"seq": INT, "event": TEXT, "data": OBJECT})),
    }
)
RENEWED: Final = shape({"ok": BOOL, "token_expires_at": TIME, "server_time": TIME})
FINDINGS: Final = listing(shape({"path": TEXT, "message": TEXT}))
ACCEPTED: Final = {
    "type": "object",
    "properties": {"ok": {"const": True}, "id": TEXT, "server_time": TIME},
    "required": ["ok", "id", "server_time"],
}
REFUSED: Final = shape(
    {"ok": {"const": False}, "error": CODE, "message": TEXT, "server_time": TIME},
    retry_after_ms=INT,
    path=TEXT,
    findings=FINDINGS,
)
JOB_STATE: Final = one_of(*(state.value for state in State))
MEMBER: Final = shape(
    {
        "user_id": TEXT,
        "username": TEXT,
        "state": one_of("active", "idle", "inactive", "disconnected"),
        "device": one_of("desktop", "mobile"),
        "since": TIME,
        "sockets": INT,
    }
)
ENGINE: Final = shape(
    {"name": TEXT, "state": TEXT, "busy": INT, "capacity": INT, "last_seen": TIME}
)
TOKEN_ENDS: Final = shape({"token_expires_at": TIME, "server_time": TIME})

SESSION: Final = {
    "sid": TEXT,
    "principal": TEXT,
    "role": one_of("user", "staff", "engine", "agent"),
    "namespace": TEXT,
    "server_nonce": TEXT,
    "drift_ms": INT,
    "limits": shape({"max_payload": INT, "actions_per_s": {"type": "number"}, "burst": INT}),
    "token_expires_at": TIME,
    "server_time": TIME,
}
"""What ``session`` says in every namespace."""

ENDS: Final[Mapping[str, Schema]] = {
    "auth_expiring": TOKEN_ENDS,
    "auth_expired": TOKEN_ENDS,
    "goodbye": shape({"code": INT, "reason": TEXT, "retry_after_ms": nullable(INT)}),
}
"""What every namespace says before the end."""

HEARD: Final[Mapping[str, Schema]] = {
    "action": SIGNED,
    "heartbeat": {"anyOf": [NOTHING, shape({}, ts=INT)]},
    "feed": POSITION,
    "reauth": shape({"token": TEXT}),
}
ANSWERS: Final[Mapping[str, Schema]] = {
    "action": ACCEPTED,
    "heartbeat": BEAT,
    "feed": PAGE,
    "reauth": RENEWED,
}
ACTIONS: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(INTERACTIONS, nullable(OBJECT)),
    "presence": shape({"state": one_of("active", "idle")}),
    "room_join": shape({"room": TEXT}),
    "room_leave": shape({"room": TEXT}),
    "generate_world": shape({"spec": OBJECT}, request_id=TEXT, priority=TEXT),
    "build_cancel": shape({"build_id": TEXT}),
    "job_cancel": shape({"job_id": TEXT}),
    "job_retry": shape({"job_id": TEXT}),
}
"""The payloads of the hub's own types; a type that is not here takes any JSON."""

JOB: Final = {
    "job_id": TEXT,
    "build_id": TEXT,
    "job_type": TEXT,
    "status": JOB_STATE,
    "attempt": INT,
    "progress": INT,
    "queued_at": TIME,
    "dispatched_at": nullable(TIME),
    "started_at": nullable(TIME),
    "finished_at": nullable(TIME),
}
ERROR: Final = shape({"code": TEXT, "message": TEXT})

SAID: Final[Mapping[str, Schema]] = {
    "session": shape(
        {
            **SESSION,
            "user_id": TEXT,
            "username": TEXT,
            "heartbeat": shape(
                {"interval_ms": INT, "inactive_after_ms": INT, "disconnect_after_ms": INT}
            ),
            "feed": PLACE,
        }
    ),
    "heartbeat_result": BEAT,
    "action_error": REFUSED,
    "presence_state": listing(MEMBER),
    "presence_diff": shape(
        {
            "room": TEXT,
            "joins": listing(MEMBER),
            "leaves": listing(MEMBER),
            "changes": listing(MEMBER),
        }
    ),
    "action_update": shape(
        {
            "id": TEXT,
            "user_id": TEXT,
            "username": TEXT,
            "sid": TEXT,
            "room": nullable(TEXT),
            "type": TEXT,
            "category": TEXT,
            "payload": ANY,
            "client_ts": TIME,
            "server_time": TIME,
        }
    ),
    "build_status": shape(
        {
            **FEED,
            "build_id": TEXT,
            "status": one_of("queued", "running", "completed", "failed"),
            "total": INT,
            "completed": INT,
            "failed": INT,
            "engine_online": BOOL,
        }
    ),
    "job_status": shape(JOB, error=ERROR, **FEED),
    "world_update": shape(
        {
            **FEED,
            "build_id": TEXT,
            "world": OBJECT,
            "scene": OBJECT,
            "artifact_url": nullable(TEXT),
        }
    ),
    "job_error": shape(
        {**FEED, "error": CODE, "message": TEXT, "path": TEXT, "findings": FINDINGS},
        request_id=TEXT,
        job_id=TEXT,
    ),
    "feed_snapshot": shape({"epoch": TEXT, "head": INT, "builds": listing(OBJECT)}),
    "engine_status": shape({"online": BOOL, "engines": listing(ENGINE), "waiting_jobs": INT}),
    "agent_update": shape({"agent": TEXT, "message": TEXT, "reason": TEXT}, in_reply_to=TEXT),
    "security_notice": shape({"kind": TEXT, "message": TEXT, "count": INT, "since": TIME}),
    **ENDS,
}
