"""Anchors: what a chain of records was at a time, signed, in the database and in a file beside it.

A chain shows a row that was changed, but not that its end was cut off or that all of it was written
anew: whoever can write the database can hash as well. So every ANCHOR_S, or ANCHOR_ROWS rows, its
writer states the last row and its hash under a MAC, and once more when it ends. The key is derived
from the master key (`security.signatures.anchor_key`), which the database does not hold::

    said = enc(kind of mark, table, writer, last_id, hash, at_ms, what only its kind says...)
    mac  = lowercase hex of HMAC-SHA256(anchor_key, "HUBMARK1" || said)

The file sink is one line of JSON per anchor, a file a day, in ``HUB_DATA_DIR/anchors/``. It is what
finds a cut that took the anchors of the database along; ship it to where the database's owner
cannot write. (docs/security.md.)
"""

import hmac
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from security import clock
from security.keys import KeyRing
from security.models import Anchor, Checkpoint, Mark, Record
from security.signatures import anchor_key, enc

__all__ = [
    "ANCHOR_ROWS",
    "ANCHOR_S",
    "AnchorLine",
    "Due",
    "folder",
    "is_authentic",
    "lines",
    "seal",
    "write",
]

ANCHOR_S: Final = 60.0
ANCHOR_ROWS: Final = 1_000

_VERSION: Final = b"HUBMARK1"
_FIELDS: Final[Mapping[str, type]] = {
    "table": str,
    "writer": str,
    "last_id": int,
    "hash": str,
    "at_ms": int,
    "closed": bool,
    "kid": str,
    "mac": str,
}


# When an anchor is due.


class Due:
    """The chains of one writer that have grown since their last anchor. For one thread."""

    def __init__(self, *, every_s: float = ANCHOR_S, every_rows: int = ANCHOR_ROWS) -> None:
        self._every_s, self._every_rows = every_s, every_rows
        self._heads: dict[type[Record], Record] = {}
        self._grown: dict[type[Record], int] = {}
        self._due: float | None = None

    @property
    def at(self) -> float | None:
        """The monotonic time of the next anchor; None: nothing has grown."""
        return self._due

    def grew(self, rows: Sequence[Record], now: float) -> None:
        """Rows were committed, in this order."""
        for row in rows:
            self._heads[type(row)] = row
            self._grown[type(row)] = self._grown.get(type(row), 0) + 1
        if self._due is None:
            self._due = now + self._every_s
        if max(self._grown.values(), default=0) >= self._every_rows:
            self._due = now

    def take(self, now: float) -> list[Record]:
        """The last rows of the chains to be anchored now; they are then no longer due."""
        if self._due is None or now < self._due:
            return []
        taken = [self._heads[model] for model in self._grown]
        self._grown.clear()
        self._due = None
        return taken

    def take_all(self) -> list[Record]:
        """The last rows of all chains, for the anchors of a writer that ends."""
        return list(self._heads.values())


# Signing.


def seal(mark: Mark, ring: KeyRing) -> None:
    """Sign a mark with the ring's first key."""
    mark.kid = ring.signing.kid
    mark.mac = _mac(mark, ring.signing.secret)


def is_authentic(mark: Mark, ring: KeyRing) -> bool | None:
    """Whether the hub signed it; None: its key is no longer in the ring, so nobody can tell."""
    key = ring.get(mark.kid)
    return None if key is None else hmac.compare_digest(mark.mac, _mac(mark, key.secret))


def _mac(mark: Mark, master: bytes) -> str:
    said = enc(
        type(mark).__name__,
        mark.table,
        mark.writer,
        str(mark.last_id),
        mark.hash,
        str(clock.milliseconds(mark.at)),
        *_extra(mark),
    )
    return hmac.digest(anchor_key(master, kid=mark.kid), _VERSION + said, "sha256").hex()


def _extra(mark: Mark) -> tuple[str, ...]:
    if isinstance(mark, Checkpoint):
        return mark.export_name, mark.export_sha256
    return ("closed" if isinstance(mark, Anchor) and mark.closed else "open",)


# Writing.


def folder() -> Path:
    """Where the file sink is."""
    return Path(settings.DATA_DIR) / "anchors"


def write(heads: Sequence[Record], *, closed: bool, now_ms: int) -> None:
    """Anchor the chains that end with these rows: rows in the database, then lines in the file.

    Runs where writes run. Raises DatabaseError, OSError; an anchor may then be in one place only,
    which is enough. A row that is not there any more, as after a flush in tests, has no anchor.
    """
    made = [anchor for row in heads if (anchor := _anchor(row, closed=closed, now_ms=now_ms))]
    if made:
        with transaction.atomic():
            Anchor.rows().bulk_create(made)
        _append(folder() / f"{clock.moment(now_ms):%Y-%m-%d}.jsonl", made)


def _anchor(row: Record, *, closed: bool, now_ms: int) -> Anchor | None:
    # Asked for by its hash: a row whose commit was in doubt does not know its own number.
    rows = type(row).rows().filter(at=row.at, writer=row.writer, hash=row.hash)
    last_id = rows.values_list("pk", flat=True).first()
    if last_id is None:
        return None
    anchor = Anchor(
        table=type(row).__name__,
        writer=row.writer,
        last_id=last_id,
        hash=row.hash,
        at=clock.moment(now_ms),
        closed=closed,
    )
    seal(anchor, settings.KEYS.master)
    return anchor


def _append(path: Path, made: Sequence[Anchor]) -> None:
    """One write and sync: processes share the file and must not mix their lines."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = "".join(json.dumps(_said(each), separators=(",", ":")) + "\n" for each in made)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, text.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _said(anchor: Anchor) -> dict[str, object]:
    at_ms = clock.milliseconds(anchor.at)
    return {name: at_ms if name == "at_ms" else getattr(anchor, name) for name in _FIELDS}


# Reading the file sink.


@dataclass(frozen=True, slots=True)
class AnchorLine:
    """One line of the file sink; ``anchor`` is None where it cannot be read."""

    place: str
    anchor: Anchor | None


def lines() -> Iterator[AnchorLine]:
    """Every line of every file, in the order of the days. Raises OSError."""
    for path in sorted(folder().glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            yield AnchorLine(f"{path.name}:{number}", _read(line))


def _read(line: str) -> Anchor | None:
    try:
        said: Any = json.loads(line)
    except ValueError:
        return None
    if type(said) is not dict or said.keys() != _FIELDS.keys():
        return None
    if any(type(said[name]) is not kind for name, kind in _FIELDS.items()):
        return None
    at_ms = said.pop("at_ms")
    try:
        return Anchor(at=clock.moment(at_ms), **said)
    except OverflowError:  # a year that no calendar has
        return None
