"""Lets old records go: exported, then cut from the front of their chains, behind a signed mark.

Only what an anchor covers may go, and only while every chain is whole: a chain that is not is
evidence. The order makes an interrupted run harmless: the export is on the disk before the
checkpoint, the checkpoint is committed before any row goes, and what it has let go can be removed
by the next run.

    RecordsBroken    some chain is not whole; nothing was touched
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from security import anchors, clock
from security.export import MODELS, Exported, write_file
from security.models import Anchor, Checkpoint, Record
from security.verification import Report, verify

__all__ = ["Pruned", "RecordsBroken", "prune_records"]

BATCH: Final = 2_000  # rows of one transaction: others write in between


class RecordsBroken(RuntimeError):
    """A chain of records is not whole, so nothing may be removed from any."""

    def __init__(self, report: Report) -> None:
        self.report = report
        super().__init__(report)

    def __str__(self) -> str:
        return f"records are not pruned while a chain is broken: {self.report.findings[0]}"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What happened to one table. ``export`` is None where nothing was old enough."""

    name: str
    removed: int
    chains: int
    export: Exported | None


def prune_records(*, before: datetime, folder: Path, now_ms: int) -> list[Pruned]:
    """Export and remove the anchored records from before a time. Raises RecordsBroken, OSError."""
    report = verify()
    if not report.sound:
        raise RecordsBroken(report)
    return [_prune(name, model, before, folder, now_ms) for name, model in MODELS.items()]


def _prune(name: str, model: type[Record], before: datetime, folder: Path, now_ms: int) -> Pruned:
    ends = _ends(model, before)
    export = None
    if ends:
        path = folder / f"{name}-{clock.moment(now_ms):%Y%m%dT%H%M%S.%fZ}.jsonl"
        export = write_file(_prefixes(model, ends), model, "jsonl", path)
        _set_checkpoints(ends, export, now_ms)
    return Pruned(name, _remove(model), len(ends), export)


def _ends(model: type[Record], before: datetime) -> dict[str, Anchor]:
    """By writer, the newest anchor that is old enough and beyond the chain's checkpoint."""
    marks = Checkpoint.rows().filter(table=model.__name__)
    reached = dict(marks.values_list("writer").annotate(Max("last_id")))
    ends: dict[str, Anchor] = {}
    old = Anchor.rows().filter(table=model.__name__, at__lt=before)
    for anchor in old.order_by("last_id"):
        # verify() has looked at all, but a key that was dropped proves nothing
        known = anchors.is_authentic(anchor, settings.KEYS.master)
        if known and anchor.last_id > reached.get(anchor.writer, 0):
            ends[anchor.writer] = anchor
    return ends


def _prefixes(model: type[Record], ends: Mapping[str, Anchor]) -> Iterator[Record]:
    """The rows that are to go, by number. Most of what is read goes."""
    last = max(anchor.last_id for anchor in ends.values())
    rows = model.rows().filter(pk__lte=last).order_by("pk")
    for row in rows.iterator(chunk_size=BATCH):
        end = ends.get(row.writer)
        if end is not None and row.pk <= end.last_id:
            yield row


def _set_checkpoints(ends: Mapping[str, Anchor], export: Exported, now_ms: int) -> None:
    made = [
        Checkpoint(
            table=anchor.table,
            writer=anchor.writer,
            last_id=anchor.last_id,
            hash=anchor.hash,
            at=clock.moment(now_ms),
            export_name=export.path.name,
            export_sha256=export.sha256,
        )
        for anchor in ends.values()
    ]
    for checkpoint in made:
        anchors.seal(checkpoint, settings.KEYS.master)
    with transaction.atomic():
        Checkpoint.rows().bulk_create(made)


def _remove(model: type[Record]) -> int:
    """Remove what checkpoints have let go, then the anchors that spoke of rows inside of it."""
    table, name = model._meta.db_table, model.__name__  # noqa: SLF001 - Django's public _meta
    removed = 0
    while count := _execute(REMOVE_ROWS.format(table), [name, name, BATCH]):
        removed += count
    _execute(REMOVE_ANCHORS, [name])
    return removed


def _execute(sql: str, values: Sequence[str | int]) -> int:
    """Run one statement in a transaction of its own; the ORM's managers remove no records."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)


REMOVE_ROWS: Final = """
    DELETE FROM {0} WHERE id IN (
        SELECT r.id FROM {0} r
        WHERE r.id <= (SELECT max(last_id) FROM security_checkpoint WHERE "table" = %s)
        AND EXISTS (
            SELECT 1 FROM security_checkpoint c
            WHERE c."table" = %s AND c.writer = r.writer AND c.last_id >= r.id
        )
        ORDER BY r.id LIMIT %s
    )
"""
# The anchor at a checkpoint stays: it may say that the writer has ended there.
REMOVE_ANCHORS: Final = """
    DELETE FROM security_anchor WHERE "table" = %s AND EXISTS (
        SELECT 1 FROM security_checkpoint c
        WHERE c."table" = security_anchor."table" AND c.writer = security_anchor.writer
        AND c.last_id > security_anchor.last_id
    )
"""
