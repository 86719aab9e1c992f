"""What fails stays where it fails: over real sockets, with short times.

``python -m tests.isolation`` does the same with a hundred sockets and half a minute.
"""

from collections.abc import Iterator

import pytest

from tests.hostile.stage import Stage
from tests.isolation import scenarios
from tests.isolation.staging import isolated
from tests.services import PostgresServer

HANGS_S = 3.0


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with isolated() as stage:
        yield stage


async def test_sockets_that_never_read_end_and_nobody_else_notices(stage: Stage) -> None:
    found = await scenarios.deaf_sockets(stage, count=20, pid=stage.hub.pid)
    assert found["gaps"] == []


async def test_a_handler_that_raises_or_stalls_harms_its_own_socket_only(stage: Stage) -> None:
    assert (await scenarios.failing_handlers(stage))["gaps"] == []


async def test_a_locked_sqlite_is_tried_again_and_needs_no_restart(stage: Stage) -> None:
    found = await scenarios.database_hangs(stage, scenarios.locked(stage), seconds=HANGS_S)
    assert found["gaps"] == []


@pytest.mark.soak
async def test_a_stopped_postgresql_is_tried_again_and_needs_no_restart(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    with isolated(DATABASE_URL=postgres_url) as stage:
        found = await scenarios.database_hangs(
            stage, scenarios.stopped(postgres_server), seconds=HANGS_S
        )
    assert found["gaps"] == []
