"""Records as a law of the database: triggers that refuse to change or remove them by raw SQL.

A row may be removed once a checkpoint says that its chain begins behind it. A checkpoint that
nobody signed lets rows go as well: ``verify_audit`` names it, because a trigger knows no keys.
Whoever owns the database can take its triggers away; against that stand the chain and the anchors.

A later migration that alters one of these tables on SQLite rebuilds it, which drops its triggers:
it must run `install` again as its last step.
"""

from collections.abc import Iterator
from typing import Any, Final

__all__ = ["create_statements", "drop_statements", "install", "remove"]

CHAINED: Final = {"security_violation": "Violation", "security_auditentry": "AuditEntry"}
"""The tables of records, and what their checkpoints call them."""

KEPT: Final = (
    "security_violation",
    "security_auditentry",
    "security_anchor",
    "security_checkpoint",
)


def install(apps: Any, schema_editor: Any) -> None:  # noqa: ANN401 - the signature of RunPython
    """Create the triggers, in the place of older ones."""
    remove(apps, schema_editor)
    for statement in create_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


def remove(_apps: Any, schema_editor: Any) -> None:  # noqa: ANN401 - the signature of RunPython
    """Drop the triggers if they are there."""
    for statement in drop_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


def create_statements(vendor: str) -> Iterator[str]:
    """The SQL that makes all triggers of a kind of database."""
    for table in KEPT:
        yield from CREATE[vendor](table)


def drop_statements(vendor: str) -> Iterator[str]:
    """The SQL that takes them away; harmless where there are none."""
    for table in KEPT:
        yield from DROP[vendor](table)


def _removable(table: str) -> str:
    """A condition on OLD that holds for rows which a checkpoint has let go."""
    if table == "security_checkpoint":
        return "1 = 0"
    name = f"'{CHAINED[table]}'" if table in CHAINED else 'OLD."table"'
    row = "OLD.id" if table in CHAINED else "OLD.last_id"
    return (
        f'EXISTS (SELECT 1 FROM security_checkpoint c WHERE c."table" = {name} '  # noqa: S608 - our own names
        f"AND c.writer = OLD.writer AND c.last_id >= {row})"
    )


def _create_sqlite(table: str) -> Iterator[str]:
    abort = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    yield f"CREATE TRIGGER {table}_kept_update BEFORE UPDATE ON {table} {abort}"
    yield (
        f"CREATE TRIGGER {table}_kept_delete BEFORE DELETE ON {table} "
        f"WHEN NOT {_removable(table)} {abort}"
    )
    # INSERT OR REPLACE removes rows without asking the triggers of DELETE (SQLite, ON CONFLICT)
    yield (
        f"CREATE TRIGGER {table}_kept_insert BEFORE INSERT ON {table} "  # noqa: S608 - our own names
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) {abort}"
    )


def _create_postgresql(table: str) -> Iterator[str]:
    yield (
        f"CREATE FUNCTION {table}_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'DELETE' THEN IF {_removable(table)} THEN RETURN OLD; END IF; END IF; "
        f"RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'check_violation'; END $$"
    )
    for name, event in (
        ("row", "UPDATE OR DELETE ON {} FOR EACH ROW"),
        ("all", "TRUNCATE ON {} FOR EACH STATEMENT"),
    ):
        yield (
            f"CREATE TRIGGER {table}_kept_{name} BEFORE {event.format(table)} "
            f"EXECUTE FUNCTION {table}_kept()"
        )


def _drop_sqlite(table: str) -> Iterator[str]:
    for event in ("update", "delete", "insert"):
        yield f"DROP TRIGGER IF EXISTS {table}_kept_{event}"


def _drop_postgresql(table: str) -> Iterator[str]:
    for name in ("row", "all"):
        yield f"DROP TRIGGER IF EXISTS {table}_kept_{name} ON {table}"
    yield f"DROP FUNCTION IF EXISTS {table}_kept()"


CREATE: Final = {"sqlite": _create_sqlite, "postgresql": _create_postgresql}
DROP: Final = {"sqlite": _drop_sqlite, "postgresql": _drop_postgresql}
