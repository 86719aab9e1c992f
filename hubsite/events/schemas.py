"""JSON Schema in a few words: what the tables of events are written in."""

from typing import Any, Final

__all__ = [
    "ANY",
    "BOOL",
    "INT",
    "NOTHING",
    "OBJECT",
    "TEXT",
    "TIME",
    "Schema",
    "empty",
    "listing",
    "nullable",
    "one_of",
    "shape",
]

Schema = dict[str, Any]

ANY: Final[Schema] = {}
TEXT: Final[Schema] = {"type": "string"}
INT: Final[Schema] = {"type": "integer"}
BOOL: Final[Schema] = {"type": "boolean"}
OBJECT: Final[Schema] = {"type": "object"}
NOTHING: Final[Schema] = {"type": "null"}
TIME: Final[Schema] = {"type": "integer", "description": "milliseconds since the epoch, UTC"}


def shape(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with exactly these keys; the named ones may be absent."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def empty() -> Schema:
    """An object without keys."""
    return shape({})


def listing(each: Schema) -> Schema:
    """An array of such values."""
    return {"type": "array", "items": each}


def nullable(schema: Schema) -> Schema:
    """Such a value, or null."""
    return {"anyOf": [schema, NOTHING]}


def one_of(*texts: str) -> Schema:
    """One of these texts."""
    return {"enum": list(texts)}
