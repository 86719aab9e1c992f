"""Three workers behind one socket: whoever accepts a request serves it, whose session it may be.

No client keeps a connection open between requests, so two of three polls meet another process than
that of their session.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from realtime.client import HubClient
from tests.end_to_end.conftest import CURRENT_CLIENT, RunNode
from tests.live import PASSWORD, LiveHub
from tests.services import free_port

pytestmark = pytest.mark.timeout(300)

MODES = {
    "polling": (("polling",), ["polling", "polling"]),
    "upgrade": (("polling", "websocket"), ["polling", "websocket"]),
}
ACTIONS = 40
# A burst is what these are about, not what a person may send.
SETTINGS = {"HUB_MESSAGES_PER_S": "2000", "HUB_MESSAGE_BURST": "2000", "HUB_INBOX_MESSAGES": "2000"}


@pytest.fixture(scope="module")
def hub(
    shared_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveHub]:
    command = ("serve", "--port", str(free_port()), "--workers", "3")
    folder = tmp_path_factory.mktemp("workers")
    with LiveHub(*command, data_dir=folder, **SETTINGS, **shared_environ) as running:
        running.add_person("ada")
        yield running


@pytest.mark.parametrize("run_node", [CURRENT_CLIENT], indirect=True)
@pytest.mark.parametrize("mode", MODES)
def test_a_burst_across_the_upgrade_arrives_in_order(
    run_node: RunNode, hub: LiveHub, mode: str
) -> None:
    transports, expected = MODES[mode]
    said = run_node("burst.mjs", hub, "ada", TRANSPORTS=",".join(transports))
    assert said["gone"] is None
    assert said["heard"] == list(range(300))
    assert (said["accepted"], said["mine"]) == (300, 0)
    assert said["transports"] == expected


@pytest.mark.parametrize("mode", MODES)
async def test_python_socketio_does_not_notice(hub: LiveHub, mode: str) -> None:
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(HubClient(hub.url, transports=MODES[mode][0]))
        far = await stack.enter_async_context(HubClient(hub.url))
        for client in (near, far):
            hang_up_after_each_request(client)
            await client.sign_in("ada", PASSWORD)
            await client.connect()
        answers = await asyncio.gather(
            *(near.act("speak", {"text": f"{number}"}) for number in range(ACTIONS))
        )
        heard = [(await far.next("action_update"))["payload"] for _ in answers]
        assert heard == [{"text": f"{number}"} for number in range(ACTIONS)]


def hang_up_after_each_request(client: HubClient) -> None:
    connector: Any = client._http.connector
    connector._force_close = True
