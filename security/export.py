"""Records on their way out: JSON lines for machines, CSV for spreadsheets that must not run them.

A text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV
Injection"); control characters are escapes already when a record is made, and are escaped here
once more, so that what reached the table by another way does no harm either.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from security.detail import visible
from security.models import AuditEntry, Record, Violation

__all__ = ["FORMATS", "MODELS", "Exported", "chosen", "write", "write_file"]

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


def write(rows: Iterable[Record], model: type[Record], form: str, out: IO[str]) -> int:
    """Write records in one of FORMATS; returns how many."""
    return FORMATS[form](rows, _columns(model), out)


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


def _columns(model: type[Record]) -> tuple[str, ...]:
    return tuple(each.attname for each in model._meta.concrete_fields)  # noqa: SLF001 - Django's public _meta


def _jsonl(rows: Iterable[Record], columns: tuple[str, ...], out: IO[str]) -> int:
    count = 0
    for row in rows:
        count += 1
        facts = {name: _plain(getattr(row, name)) for name in columns}
        text = json.dumps(facts, ensure_ascii=True, separators=(",", ":"))
        out.write(text.replace("\x7f", "\\u007f") + "\n")
    return count


def _csv(rows: Iterable[Record], columns: tuple[str, ...], out: IO[str]) -> int:
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")  # RFC 4180, section 2
    writer.writerow(columns)
    count = 0
    for row in rows:
        count += 1
        writer.writerow([cell(getattr(row, name)) for name in columns])
    return count


def cell(value: object) -> str:
    """A value as a spreadsheet may show it: nothing in it acts."""
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    shown = visible(json.dumps(value) if isinstance(value, dict) else str(_plain(value)), CELL)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    return value.isoformat() if isinstance(value, datetime) else value


FORMATS: Final[Mapping[str, Callable[[Iterable[Record], tuple[str, ...], IO[str]], int]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
}
