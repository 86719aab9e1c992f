"""What every test of the project shares."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The machine is shared and slow at times: an example's own duration says nothing.
settings.register_profile(
    "hub", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("hub")

UNUSED_WITHIN_S = 5.0

pytest_plugins = ["tests.services"]

# Files of these names, and files below folders of these names, take longest.
LONGEST = ("test_on_postgresql", "end_to_end", "drill", "isolation", "hostile", "conformance")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: what is left last is short, so the workers end together."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    parts = item.path.with_suffix("").parts
    return next((rank for rank, name in enumerate(LONGEST) if name in parts), len(LONGEST))


@pytest.fixture(autouse=True)
def records_end_with_the_test(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Rows that a test reported are stored, and its threads ended, before the next one begins.

    Where a test's own transaction is rolled back they are not stored at all: the recorder has a
    connection of its own, so its rows would be there for all tests that follow.
    """
    from security import anchors, database, recorder  # noqa: PLC0415 - Django's settings come first

    if not _commits(request):
        monkeypatch.setattr(recorder, "_commit", lambda *_rows, **_again: None)
        monkeypatch.setattr(anchors, "write", lambda *_heads, **_facts: None)
    yield
    recorder.shutdown(5.0)
    database.shutdown()


@pytest.fixture(scope="session", autouse=True)
def signatures_are_secret() -> Iterator[None]:
    """Whatever this process signs must be found in no log and no database (see tests.leaks)."""
    from security.signatures import MessageKey  # noqa: PLC0415 - Django's settings come first
    from tests import leaks  # noqa: PLC0415 - as above

    sign = MessageKey.sign

    def signed(key: MessageKey, **message: Any) -> str:
        sig = sign(key, **message)
        leaks.know("a signature", sig)
        return sig

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MessageKey, "sign", signed)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """PostgreSQL drops no database in use, and its processes end a moment after we close."""
    yield
    from django.db import connection  # noqa: PLC0415 - Django's settings come first

    if connection.vendor != "postgresql":
        return
    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
        connection.close()
        connection.close_pool()
        with connection._nodb_cursor() as cursor:
            _until_unused(cursor, name)


@pytest.fixture(scope="session", autouse=True)
def tests_may_flush_records() -> Iterator[None]:
    """Flushing empties every table after a test; the triggers of records are lifted for it."""
    from django.db.backends.base.operations import (  # noqa: PLC0415 - Django's settings come first
        BaseDatabaseOperations,
    )

    from security import triggers  # noqa: PLC0415 - as above

    flush = BaseDatabaseOperations.execute_sql_flush

    def lifted(operations: BaseDatabaseOperations, statements: list[str]) -> None:
        connection = operations.connection
        with connection.cursor() as cursor:
            for statement in triggers.drop_statements(connection.vendor):
                cursor.execute(statement)
            flush(operations, statements)
            for statement in triggers.create_statements(connection.vendor):
                cursor.execute(statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseOperations, "execute_sql_flush", lifted)
        yield


def _until_unused(cursor: Any, database: str) -> None:
    deadline = time.monotonic() + UNUSED_WITHIN_S
    while True:
        cursor.execute("SELECT query FROM pg_stat_activity WHERE datname = %s", [database])
        left = [query for (query,) in cursor.fetchall()]
        if not left:
            return
        assert time.monotonic() < deadline, f"a test left connections, last used for {left}"
        time.sleep(0.01)


def _commits(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("django_db")
    return "transactional_db" in request.fixturenames or bool(
        marker and marker.kwargs.get("transaction")
    )
