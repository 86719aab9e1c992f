"""The only way to an engine: the whitelist of job types, the frozen schema, and the jobs it yields.

Everything an engine is given has passed here twice: the specification with `admit` when it was
submitted, and each job's own payload with `check_job` when it is dispatched (docs/engine.md).
Nothing here writes, and nothing in the data is followed: a ``$ref`` in a specification is
a key that the closed schema does not know.

Errors::

    WorldRefused (ValueError)      the person's fault; code schema_validation_failed, findings
    JobRefused (ValueError)        ours: a stored job is not one that may reach an engine
    SchemaChanged (RuntimeError)   ours: the schema file is not the frozen one; do not start
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from itertools import islice
from typing import Any, ClassVar, Final, cast

import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind, Validator, validator_for

from engine.worldspec import (
    JOB_TYPES,
    Finding,
    JobType,
    PlannedJob,
    WorldSpec,
    beyond_schema,
    plan,
)
from security.strictjson import Bounds

__all__ = [
    "MAX_FINDINGS",
    "SCHEMA_SHA256",
    "WORLD_BOUNDS",
    "AdmittedWorld",
    "JobRefused",
    "SchemaChanged",
    "WorldRefused",
    "admit",
    "check_job",
    "load_schema",
    "prepare",
    "unknown_keys",
]

SCHEMA_SHA256: Final = "0812599ad825f8683b26cc11b261af534b1255e044b2582055213a47c7aad30c"
"""Of the bytes of the frozen contract. Another schema is another contract, with another name."""

MAX_FINDINGS: Final = 20
_ECHO: Final = 80  # characters of the person's own input that a sentence may repeat

_LARGEST_WORLD: Final = 18 + 1_000 * 27 + 256 * 4
"""Values in the largest specification: the frame with world and scene, 27 for each of 1,000
entities, 4 for each of 256 quests. A test counts them in the schema."""

WORLD_BOUNDS: Final = Bounds(nodes=2 * _LARGEST_WORLD)
"""For the text of a `generate_world` payload: twice the values that the schema can admit, so that a
world with some entities or keys too many is answered by the schema, which names them. Depth (5 in
the specification, one more around it) and strings (200 characters) keep the ordinary bounds."""


class SchemaChanged(RuntimeError):
    """The schema file is not the frozen contract; the hub must not start."""

    def __init__(self, seen: str) -> None:
        self.seen = seen
        self.expected = SCHEMA_SHA256

    def __str__(self) -> str:
        return f"the world schema has SHA-256 {self.seen}, but {self.expected} is the frozen one"


class _Refused(ValueError):
    """A document with findings: at least one, and of many the first `MAX_FINDINGS`."""

    code: ClassVar[str] = "schema_validation_failed"
    subject: ClassVar[str]

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)

    def __str__(self) -> str:
        first, *others = self.findings
        more = f" (and {len(others)} more)" if others else ""
        return f"{self.subject}: {first.path}: {first.message}{more}"


class WorldRefused(_Refused):
    """A specification is not one that the hub builds."""

    subject = "world specification refused"


class JobRefused(_Refused):
    """A job is not one that may reach an engine."""

    subject = "job refused"


@dataclass(frozen=True, slots=True)
class AdmittedWorld:
    """A specification that may be built.

    `text` is compact JSON, stored and served as it is; `sha256` is the hex digest of its UTF-8
    bytes and names it to engines. `spec` is what `text` spells, and `jobs` builds it.
    """

    spec: WorldSpec
    text: str
    sha256: str
    jobs: tuple[PlannedJob, ...]


def admit(spec: object) -> AdmittedWorld:
    """Return the world that `spec` describes, ready to be stored; raises `WorldRefused`.

    `spec` is a value read by `security.strictjson`. What is validated is what the stored text
    spells, not the object that came in, so the two cannot differ.
    """
    try:
        raw = orjson.dumps(spec)
    except orjson.JSONEncodeError:
        raise WorldRefused([Finding("$", "this is not a JSON value")]) from None
    document = orjson.loads(raw)
    _refuse_if(_schema_findings(_world_validator(), document), WorldRefused)
    world = cast("WorldSpec", document)
    _refuse_if(beyond_schema(world), WorldRefused)
    return AdmittedWorld(world, raw.decode(), sha256(raw).hexdigest(), tuple(plan(world)))


def check_job(job_type: object, payload: object) -> None:
    """Check a job just before it is dispatched; raises `JobRefused`.

    Only the three types exactly as they are spelled pass, and each only with its own payload.
    """
    if not isinstance(job_type, str) or job_type not in JOB_TYPES:
        known = ", ".join(sorted(JOB_TYPES))
        raise JobRefused([Finding("$.job_type", f"the type is none of {known}")])
    _refuse_if(_schema_findings(_job_validators()[JobType(job_type)], payload), JobRefused)


def prepare() -> None:
    """Compile what everything is validated by; raises `SchemaChanged`, and then nothing may start.

    Otherwise the first world of a process would find out, and wait for it.
    """
    _world_validator()
    _job_validators()


def load_schema() -> dict[str, Any]:
    """Return the frozen schema; raises `SchemaChanged` if the file is not that, byte for byte."""
    path = resources.files("engine") / "contracts" / "world_spec.v1.schema.json"
    raw = path.read_bytes()
    seen = sha256(raw).hexdigest()
    if seen != SCHEMA_SHA256:
        raise SchemaChanged(seen)
    schema: dict[str, Any] = orjson.loads(raw)
    return schema


# The validators, each compiled once per process at first use.


@cache
def _world_validator() -> Validator:
    return _compiled(load_schema())


@cache
def _job_validators() -> dict[JobType, Validator]:
    """Compile one closed schema per job type, out of the parts of the frozen one."""
    frozen = load_schema()
    scene, world = (frozen["properties"][name]["properties"] for name in ("scene", "world"))
    symbol = {"$ref": "#/$defs/symbol"}
    members: dict[JobType, dict[str, Any]] = {
        JobType.BUILD_SCENE: {
            "scene_id": scene["id"],
            "ambient_light": scene["ambientLight"],
            "skybox": scene["skybox"],
            "gravity": world["gravity"],
        },
        JobType.LOAD_ASSETS: {
            "assets": {"type": "array", "items": symbol, "minItems": 1, "uniqueItems": True}
        },
        JobType.SPAWN_ENTITY: {"entity": {"$ref": "#/$defs/entity"}},
    }
    return {
        job_type: _compiled({"$defs": frozen["$defs"], **_closed(properties)})
        for job_type, properties in members.items()
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _compiled(schema: dict[str, Any]) -> Validator:
    return validator_for(schema, mask="the value")  # sentences do not repeat what was sent


# From the validator's errors to sentences.


def _refuse_if(findings: Iterable[Finding], refused: type[_Refused]) -> None:
    found = list(islice(findings, MAX_FINDINGS))
    if found:
        raise refused(found)


def _schema_findings(validator: Validator, document: object) -> Iterator[Finding]:
    instance = cast("Any", document)  # the validator takes any object, and refuses what is no JSON
    try:
        if not validator.is_valid(instance):
            yield from map(_finding, validator.iter_errors(instance))
    except ValueError:  # a set, bytes, a lone surrogate: nothing that a parser has made
        yield Finding("$", "this is not a JSON value")


def _finding(error: ValidationError) -> Finding:
    path = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path
    )
    return Finding(f"${path}", _sentence(error))


def _sentence(error: ValidationError) -> str:
    if not isinstance(error.kind, ValidationErrorKind.AdditionalProperties):
        return error.message
    return unknown_keys(error.kind.unexpected)


def unknown_keys(names: Sequence[str]) -> str:
    """Say that keys are refused; of many or long names only so much as a sentence can hold."""
    keys = ", ".join(repr(name[:_ECHO]) for name in names[:_ECHO])
    return f"unknown keys are refused: {keys if len(keys) <= _ECHO else keys[: _ECHO - 3] + '...'}"
