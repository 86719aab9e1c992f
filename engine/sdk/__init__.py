"""The Python SDK for engines: handlers in, signed progress out. It needs no Django.

``engine.sdk.client`` shows how it is used; ``engine.sdk.errors`` what it raises. The install needs
the extra ``engine`` (the python-socketio client).
"""

from engine.sdk.client import Engine
from engine.sdk.errors import (
    AttemptOver,
    EngineError,
    HubRefused,
    HubUnreachable,
    InvalidSecret,
    JobFailed,
    SpecMismatch,
    TryLater,
)
from engine.sdk.job import Context, Job
from engine.sdk.timing import Timing

__all__ = [
    "AttemptOver",
    "Context",
    "Engine",
    "EngineError",
    "HubRefused",
    "HubUnreachable",
    "InvalidSecret",
    "Job",
    "JobFailed",
    "SpecMismatch",
    "Timing",
    "TryLater",
]
