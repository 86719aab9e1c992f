"""Every decision about builds, jobs and engines: each one transaction, each answers an `Outcome`.

Knows no socket and no loop. The caller runs it on a database thread, and once it returned answers,
delivers and publishes what the outcome says; what it raises changed nothing:

    security.refusals.Refused      the caller's fault, with a code of docs/wire.md

Each takes `now` for tests; without it the database's clock decides, read once per transaction.
"""

from engine.dispatch.assign import assign
from engine.dispatch.cancel import cancel_build, cancel_job
from engine.dispatch.control import is_paused, pause, resume
from engine.dispatch.engines import (
    engine_closed,
    engine_connected,
    engine_draining,
    engine_ready,
    engine_resume,
    heartbeat,
    process_stopped,
)
from engine.dispatch.report import (
    report_ack,
    report_completed,
    report_failed,
    report_progress,
    report_started,
)
from engine.dispatch.rescue import rescue
from engine.dispatch.submit import refuse, retry_job, submit

__all__ = [
    "assign",
    "cancel_build",
    "cancel_job",
    "engine_closed",
    "engine_connected",
    "engine_draining",
    "engine_ready",
    "engine_resume",
    "heartbeat",
    "is_paused",
    "pause",
    "process_stopped",
    "refuse",
    "report_ack",
    "report_completed",
    "report_failed",
    "report_progress",
    "report_started",
    "rescue",
    "resume",
    "retry_job",
    "submit",
]
