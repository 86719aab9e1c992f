"""What engines say about themselves, read by exact types: hostile values are refused by name.

Each raises `Refused(PAYLOAD_INVALID)`.
"""

from typing import Final, NamedTuple

from engine.worldspec import JOB_TYPES
from security.refusals import Refused

__all__ = [
    "MAX_CAPACITY",
    "Attempt",
    "read_attempt_ids",
    "read_attempts",
    "read_capacity",
    "read_job_types",
    "read_version",
]

MAX_CAPACITY: Final = 1_024  # a bound for the lists of attempts, too
MAX_VERSION: Final = 64


class Attempt(NamedTuple):
    """An attempt of a job, as an engine names it."""

    job_id: str
    attempt_id: str


def read_capacity(value: object) -> int:
    """Return how many jobs an engine takes at once."""
    if type(value) is not int or not 1 <= value <= MAX_CAPACITY:
        raise _invalid(f"capacity is a whole number from 1 to {MAX_CAPACITY}")
    return value


def read_job_types(value: object) -> list[str]:
    """Return the job types an engine takes, sorted, each once."""
    if type(value) is not list or not value or not all(type(each) is str for each in value):
        raise _invalid("job_types is a list of names")
    if not set(value) <= JOB_TYPES:
        raise _invalid("job_types has a name that is none of the hub's")
    return sorted(set(value))


def read_version(value: object) -> str:
    """Return the engine's own version text."""
    if type(value) is not str or len(value) > MAX_VERSION:
        raise _invalid(f"version is a text of at most {MAX_VERSION} characters")
    return value


def read_attempt_ids(value: object) -> list[str]:
    """Return the ids of attempts, as `engine_heartbeat` lists them: bare, or in objects."""
    ids = [each.get("attempt_id") if type(each) is dict else each for each in _listed(value)]
    if not all(type(each) is str for each in ids):
        raise _invalid("an attempt is an id, or an object with an attempt_id")
    return [each for each in ids if type(each) is str]


def read_attempts(value: object) -> list[Attempt]:
    """Return attempts with their jobs, as `engine_resume` lists them."""
    attempts = []
    for each in _listed(value):
        if type(each) is not dict or set(each) != {"job_id", "attempt_id"}:
            raise _invalid("an attempt is {job_id, attempt_id}")
        if type(each["job_id"]) is not str or type(each["attempt_id"]) is not str:
            raise _invalid("the ids of an attempt are texts")
        attempts.append(Attempt(each["job_id"], each["attempt_id"]))
    return attempts


def _listed(value: object) -> list[object]:
    if type(value) is not list or len(value) > MAX_CAPACITY:
        raise _invalid(f"attempts is a list of at most {MAX_CAPACITY}")
    return value


def _invalid(reason: str) -> Refused:
    return Refused("PAYLOAD_INVALID", reason=reason)
