"""A stop while the database hangs: everybody is told, and the process ends all the same."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.end_to_end.test_stop import EXITS_WITHIN_S, visitor
from tests.live import LiveHub
from tests.services import PostgresServer
from tests.waiting import soon

pytestmark = pytest.mark.timeout(300)

CUT_OFF = 1


async def test_a_database_that_hangs_does_not_hold_up_the_end(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Any
) -> None:
    with LiveHub(data_dir=tmp_path, DATABASE_URL=postgres_url) as hub:
        hub.add_person("ada")
        async with AsyncExitStack() as stack:
            ada = await visitor(stack, hub, "ada")
            assert (await ada.client.act("presence", {"state": "idle"}))["ok"]
            postgres_server.pause()
            asking = asyncio.create_task(ada.client.socket.call("feed", {"after": 0}))
            began = time.monotonic()
            hub.signal("SIGTERM")
            await soon(lambda: not hub.running, within_s=2 * EXITS_WITHIN_S)
            took = time.monotonic() - began
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        postgres_server.resume()
        assert took < EXITS_WITHIN_S
        assert ada.goodbye["code"] == 1012
        assert hub.stop() == CUT_OFF
        assert "records were not stored in time" in hub.output  # an operator can know
        assert json.loads(hub.manage("verify_audit", "--json"))["ok"]
