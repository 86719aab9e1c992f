"""Records on their way out: JSON lines for machines, CSV for spreadsheets that must not run them.

A text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV
Injection"); control characters are escapes already when a record is made, and are escaped here
once more, so that what reached the table by another way does no harm either.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from security.detail import visible
from security.models import AuditEntry, Record, Violation

__all__ = ["FORMATS", "MODELS", "Exported", "chosen", "lines", "write", "write_file"]

MODELS: Final[Mapping[str, type[Record]]] = {"violations": Violation, "audit": AuditEntry}
FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full width as well
PAGE: Final = 2_000
CELL: Final = 8_192  # characters; no column holds more


@dataclass(frozen=True, slots=True)
class Exported:
    """A file of records: how many, and the SHA-256 of its bytes in hexadecimal."""

    path: Path
    rows: int
    sha256: str


def chosen(
    model: type[Record], *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Record]:
    """Records from ``since`` on and before ``until``, in the order in which they were written."""
    rows = model.rows().order_by("pk")
    if since is not None:
        rows = rows.filter(at__gte=since)
    if until is not None:
        rows = rows.filter(at__lt=until)
    return rows.iterator(chunk_size=PAGE)


def lines(rows: Iterable[Record], model: type[Record], form: str) -> Iterator[str]:
    """Records in one of FORMATS, piece by piece."""
    columns = tuple(each.attname for each in model._meta.concrete_fields)  # noqa: SLF001 - Django's public _meta
    header, line = FORMATS[form]
    yield header(columns)
    for row in rows:
        yield line([getattr(row, name) for name in columns], columns)


def write(rows: Iterable[Record], model: type[Record], form: str, out: IO[str]) -> int:
    """Write records in one of FORMATS; returns how many."""
    count = -1  # the first piece is the header
    for piece in lines(rows, model, form):
        out.write(piece)
        count += 1
    return count


def write_file(rows: Iterable[Record], model: type[Record], form: str, path: Path) -> Exported:
    """Write a new file that only its owner can read, to the disk. Raises FileExistsError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
        count = write(rows, model, form, out)
        out.flush()
        os.fsync(descriptor)
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return Exported(path, count, digest)


def _json_line(values: Sequence[Any], columns: Sequence[str]) -> str:
    facts = {name: _plain(value) for name, value in zip(columns, values, strict=True)}
    text = json.dumps(facts, ensure_ascii=True, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f") + "\n"


def _csv_header(columns: Sequence[str]) -> str:
    return _csv_line(columns, columns)


def _csv_line(values: Sequence[Any], _columns: Sequence[str]) -> str:
    quoted = (cell(value).replace('"', '""') for value in values)
    return ",".join(f'"{text}"' for text in quoted) + "\r\n"  # RFC 4180, section 2


def cell(value: object) -> str:
    """A value as a spreadsheet may show it: nothing in it acts."""
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    shown = visible(json.dumps(value) if isinstance(value, dict) else str(_plain(value)), CELL)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    return value.isoformat() if isinstance(value, datetime) else value


Header = Callable[[Sequence[str]], str]
Line = Callable[[Sequence[Any], Sequence[str]], str]
FORMATS: Final[Mapping[str, tuple[Header, Line]]] = {
    "jsonl": (lambda _columns: "", _json_line),
    "csv": (_csv_header, _csv_line),
}
