"""The door of "/engine": which events engines may send, and how large and complex each may be."""

from typing import Final

from engine.dispatch.announced import MAX_CAPACITY
from security.conf import HubSettings
from security.gate import SERVICE_CODES, Door, PayloadRule
from security.strictjson import Bounds

__all__ = ["engine_door"]

REPORT_BYTES: Final = 16 * 1024
RESULT_BYTES: Final = 80 * 1024  # a result of 64 KiB, escaped in JSON, with its ids
LISTED_BYTES: Final = 128 * MAX_CAPACITY  # an attempt with both of its ids is 80 bytes of JSON
LISTED_NODES: Final = 3 * MAX_CAPACITY + 2

SMALL: Final = PayloadRule(max_bytes=REPORT_BYTES)
LARGE: Final = PayloadRule(max_bytes=RESULT_BYTES, bounds=Bounds(string=RESULT_BYTES))
LISTING: Final = PayloadRule(max_bytes=LISTED_BYTES, bounds=Bounds(nodes=LISTED_NODES))

RULES: Final = {
    "engine_ready": SMALL,
    "engine_heartbeat": LISTING,
    "engine_resume": LISTING,
    "engine_draining": SMALL,
    "engine_error": SMALL,
    "telemetry": SMALL,
    "reauth": SMALL,
    "job_ack": SMALL,
    "job_started": SMALL,
    "job_progress": SMALL,
    "job_completed": LARGE,
    "job_failed": SMALL,
    "job_status": LARGE,
}


def engine_door(settings: HubSettings) -> Door:
    """The door with the window of these settings."""
    return Door(
        scope="engine",
        drift_ms=settings.service_drift_ms,
        nonce_grace_ms=settings.nonce_grace_ms,
        rules=RULES,
        codes=SERVICE_CODES,
    )
