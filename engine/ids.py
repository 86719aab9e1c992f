"""Names that the hub gives: a letter for the kind, then 128 random bits as base64url.

Nobody else makes these: a client or an engine that sends one can only repeat what it was told.
"""

import secrets
from typing import Final

__all__ = ["new_attempt_id", "new_build_id", "new_engine_session_id", "new_epoch", "new_job_id"]

RANDOM_BYTES: Final = 16  # 22 characters of base64url: no two alike in any life of the hub


def new_build_id() -> str:
    """Name a build."""
    return _named("b")


def new_job_id() -> str:
    """Name a job."""
    return _named("j")


def new_attempt_id() -> str:
    """Name one dispatch of a job to an engine: the fencing token of everything it reports."""
    return _named("a")


def new_engine_session_id() -> str:
    """Name one proved connection of an engine."""
    return _named("e")


def new_epoch() -> str:
    """Name a run of feed numbers. Numbers of another epoch mean nothing in this one."""
    return secrets.token_urlsafe(12)


def _named(kind: str) -> str:
    return f"{kind}_{secrets.token_urlsafe(RANDOM_BYTES)}"
