"""The hash chain of records: canonical bytes of a row, and the hash that ties it to the one before.

Pure. A row's hash covers the hash before it, so a changed, missing or inserted row breaks every
later one (docs/security.md)::

    lp(x) = uint32be(len(x)) || x           text as UTF-8
    row   = "HUBROW1" || lp(table) || lp(name) || lp(value) || lp(name) || lp(value) ...
    hash  = lowercase hex of SHA-256(prev || row)         prev: the 32 bytes of the hash before

Columns stand in the order of their names. A value is one letter for its type and then its text, so
``None``, ``""`` and ``0`` differ: ``n`` nothing; ``s`` text; ``i`` an integer in decimal; ``t`` a
time in microseconds since the epoch, UTC; ``j`` JSON with sorted keys, no spaces and only ASCII.
The first row of a chain has 32 zero bytes before it.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from security.signatures import enc

__all__ = ["GENESIS", "NotCanonical", "canonical", "link"]

GENESIS: Final = "00" * 32
"""What stands before the first row of a chain."""

_VERSION: Final = b"HUBROW1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class NotCanonical(TypeError):
    """A column holds a value that has no canonical form. Our own fault."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(kind)

    def __str__(self) -> str:
        return f"a value of type {self.kind} has no canonical form"


def canonical(table: str, values: Mapping[str, object]) -> bytes:
    """The one byte string of a row. Raises NotCanonical for a value of another type.

    JSON values must come back from the database as they went in: no floats without a fraction, no
    keys but text (``security.detail`` sees to it).
    """
    columns = [part for name in sorted(values) for part in (name, _value(values[name]))]
    return _VERSION + enc(table, *columns)


def link(prev: str, row: bytes) -> str:
    """The hash of a canonical row behind ``prev``, the hash before it in hexadecimal."""
    return hashlib.sha256(bytes.fromhex(prev) + row).hexdigest()


def _value(value: object) -> str:
    if value is None:
        return "n"
    if type(value) is str:
        return "s" + value
    if type(value) is int:  # not bool, which has no column of its own here
        return f"i{value}"
    if isinstance(value, datetime) and value.tzinfo is not None:
        return f"t{(value - _EPOCH) // _MICROSECOND}"
    if isinstance(value, dict):
        return "j" + json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    raise NotCanonical(type(value).__name__)
