"""The database itself keeps records: raw SQL cannot change or remove what no checkpoint let go."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from security import anchors
from security.models import Anchor, AuditEntry, Checkpoint, Kept, Violation

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
MARK: dict[str, Any] = {"writer": "w", "hash": "h" * 64, "at": AT}
CHANGE = "UPDATE {} SET hash = %s WHERE id = %s"
REMOVE = "DELETE FROM {} WHERE id = %s"
REPLACE = "INSERT OR REPLACE INTO {0} ({1}) SELECT {1} FROM {0} WHERE id = %s"
pytestmark = pytest.mark.django_db


def stored(model: type[Kept]) -> Kept:
    made: Kept
    if model is Violation:
        made = Violation(at=AT, first_at=AT, last_at=AT, kind="x", writer="w", hash="h" * 64)
    elif model is AuditEntry:
        made = AuditEntry(at=AT, action="x", writer="w", hash="h" * 64)
    else:
        made = model(table="Violation", last_id=1, **MARK)
    made.save()
    return made


def refused(sql: str, *values: object) -> bool:
    said = ""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, values)
    except DatabaseError as error:
        said = str(error)
    return "append-only" in said


def let_go(row: Kept, *, up_to: int) -> None:
    table = "AuditEntry" if isinstance(row, AuditEntry) else "Violation"
    checkpoint = Checkpoint(table=table, last_id=up_to, **MARK)
    anchors.seal(checkpoint, settings.KEYS.master)
    checkpoint.save()


@pytest.mark.parametrize("model", [Violation, AuditEntry, Anchor, Checkpoint])
def test_raw_sql_can_neither_change_nor_remove_a_row(model: type[Kept]) -> None:
    row = stored(model)
    table = model._meta.db_table
    assert refused(CHANGE.format(table), "0", row.pk)
    assert refused(REMOVE.format(table), row.pk)
    assert model._default_manager.get().hash == "h" * 64


@pytest.mark.parametrize("model", [Violation, AuditEntry, Anchor, Checkpoint])
def test_no_row_can_take_the_place_of_another(model: type[Kept]) -> None:
    if connection.vendor != "sqlite":  # the primary key says it there
        return
    row = stored(model)
    columns = ", ".join(f'"{each.column}"' for each in model._meta.fields)
    table = model._meta.db_table
    assert refused(
        REPLACE.format(table, columns),
        row.pk,
    )


def test_postgresql_cannot_truncate_a_record() -> None:
    if connection.vendor == "postgresql":  # SQLite has no such statement
        assert refused("TRUNCATE security_violation")


@pytest.mark.parametrize("model", [Violation, AuditEntry])
def test_a_row_below_a_checkpoint_can_be_removed_but_not_changed(model: type[Kept]) -> None:
    row, later = stored(model), stored(model)
    let_go(row, up_to=row.pk)
    table = model._meta.db_table
    assert refused(CHANGE.format(table), "0", row.pk)
    assert refused(REMOVE.format(table), later.pk)
    assert not refused(REMOVE.format(table), row.pk)


def test_a_checkpoint_lets_go_only_of_its_own_chain() -> None:
    violation, entry = stored(Violation), stored(AuditEntry)
    other = Violation(at=AT, first_at=AT, last_at=AT, kind="x", writer="other", hash="h" * 64)
    other.save()
    let_go(violation, up_to=1_000_000)
    assert refused("DELETE FROM security_auditentry WHERE id = %s", entry.pk)
    assert refused("DELETE FROM security_violation WHERE id = %s", other.pk)
    assert not refused("DELETE FROM security_violation WHERE id = %s", violation.pk)


def test_an_anchor_goes_with_the_rows_that_it_speaks_of() -> None:
    anchor = stored(Anchor)
    let_go(anchor, up_to=0)
    assert refused("DELETE FROM security_anchor")
    let_go(anchor, up_to=1)
    assert not refused("DELETE FROM security_anchor")
