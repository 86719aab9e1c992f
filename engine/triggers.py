"""The transition tables as a law of the database: triggers that refuse an illegal move by raw SQL.

Made from `engine.states`, so that the two cannot disagree. A later migration that alters a table on
SQLite rebuilds it, which drops its triggers: it must run `install` again as its last step, and so
must one that follows a change of the transitions.
"""

from collections.abc import Iterator
from typing import Any, Final

from engine.states import illegal_build_move_sql, illegal_move_sql

__all__ = ["install", "remove"]

ILLEGAL: Final = {"engine_job": illegal_move_sql, "engine_build": illegal_build_move_sql}


def install(apps: Any, schema_editor: Any) -> None:  # noqa: ANN401 - the signature of RunPython
    """Create the triggers, in the place of older ones."""
    remove(apps, schema_editor)
    for table in ILLEGAL:
        for statement in CREATE[schema_editor.connection.vendor](table):
            schema_editor.execute(statement, params=None)


def remove(_apps: Any, schema_editor: Any) -> None:  # noqa: ANN401 - the signature of RunPython
    """Drop the triggers if they are there."""
    for table in ILLEGAL:
        for statement in DROP[schema_editor.connection.vendor](table):
            schema_editor.execute(statement, params=None)


def _create_sqlite(table: str) -> Iterator[str]:
    yield (
        f"CREATE TRIGGER {table}_moves BEFORE UPDATE OF state ON {table} FOR EACH ROW "
        f"WHEN {ILLEGAL[table]()} "
        f"BEGIN SELECT RAISE(ABORT, 'illegal move in {table}'); END"
    )


def _create_postgresql(table: str) -> Iterator[str]:
    yield (
        f"CREATE FUNCTION {table}_moves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION 'illegal move in {table}' USING ERRCODE = 'check_violation'; END $$"
    )
    yield (
        f"CREATE TRIGGER {table}_moves BEFORE UPDATE OF state ON {table} FOR EACH ROW "
        f"WHEN ({ILLEGAL[table]()}) EXECUTE FUNCTION {table}_moves()"
    )


def _drop_sqlite(table: str) -> Iterator[str]:
    yield f"DROP TRIGGER IF EXISTS {table}_moves"


def _drop_postgresql(table: str) -> Iterator[str]:
    yield f"DROP TRIGGER IF EXISTS {table}_moves ON {table}"
    yield f"DROP FUNCTION IF EXISTS {table}_moves()"


CREATE: Final = {"sqlite": _create_sqlite, "postgresql": _create_postgresql}
DROP: Final = {"sqlite": _drop_sqlite, "postgresql": _drop_postgresql}
