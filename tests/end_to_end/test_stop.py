"""A stop under load: everybody is told and comes back, nothing that was accepted is lost."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from realtime.client import HubClient, HubRefused
from tests.chaos.worlds import plain_world
from tests.end_to_end.engines import reference_engine
from tests.live import PASSWORD, LiveHub
from tests.services import free_port
from tests.waiting import soon

pytestmark = pytest.mark.timeout(300)

NAMES = ("ada", "grace", "linus")
WAYS = (("polling",), ("polling", "websocket"))
FEED_EVENTS = ("build_status", "job_status", "world_update")
EXITS_WITHIN_S = 10.0
WORLDS = 4
BUILT_WITHIN_S = 90.0
SETTINGS = {"HUB_AUDIT_ACTIONS": "all", "HUB_MESSAGES_PER_S": "5000"}
SHAPES = {"one process": (), "three workers": ("--workers", "3")}


@pytest.fixture(params=SHAPES)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One address, behind which there are one or three processes."""
    workers = SHAPES[request.param]
    environ = request.getfixturevalue("shared_environ") if workers else {}
    command = ("serve", "--port", str(free_port()), *workers)
    folder = tmp_path_factory.mktemp("stop")
    with LiveHub(*command, data_dir=folder, **SETTINGS, **environ) as running:
        for name in NAMES:
            running.add_person(name)
        yield running


class Visitor:
    """Acts as fast as it is answered, and keeps what it was told."""

    def __init__(self, client: HubClient) -> None:
        self.client = client
        self.acted = 0
        self.seqs: list[int] = []
        self.epoch = ""
        self.built: set[str] = set()
        self.goodbye: dict[str, Any] = {}
        for event in FEED_EVENTS:
            client.on(event, self._hear)
        client.on("goodbye", self._leave)
        client.on("world_update", self._see)

    def _hear(self, data: dict[str, Any]) -> None:
        if "seq" in data:
            self.seqs.append(data["seq"])

    def _see(self, data: dict[str, Any]) -> None:
        self._hear(data)
        self.built.add(data["build_id"])

    def _leave(self, data: dict[str, Any]) -> None:
        self.goodbye = data

    async def act(self) -> None:
        """Until the hub says goodbye."""
        while not self.goodbye:
            await self.client.act("speak", {"text": str(self.acted)})
            self.acted += 1

    async def ask_for_worlds(self) -> list[str]:
        """As many as a person may have at once."""
        worlds = [{"spec": plain_world(entities=8), "request_id": f"w{n}"} for n in range(WORLDS)]
        return [(await self.client.act("generate_world", each))["build_id"] for each in worlds]


async def visitor(stack: AsyncExitStack, hub: LiveHub, name: str, **options: Any) -> Visitor:
    """Somebody who has signed in and joined."""
    client = await stack.enter_async_context(HubClient(hub.url, **options))
    await client.sign_in(name, PASSWORD)
    made = Visitor(client)
    made.epoch = (await client.connect())["feed"]["epoch"]
    return made


async def stopped(hub: LiveHub) -> float:
    """Stop it; how many seconds it took."""
    began = time.monotonic()
    assert await asyncio.to_thread(hub.stop) == 0, hub.output
    return time.monotonic() - began


async def test_a_stop_under_load_loses_nothing(hub: LiveHub) -> None:
    with reference_engine(hub):
        async with AsyncExitStack() as stack:
            visitors = [await visitor(stack, hub, name) for name in NAMES]
            visitors += [await visitor(stack, hub, "grace", transports=each) for each in WAYS]
            ada = visitors[0]
            builds = await ada.ask_for_worlds()
            acting = [asyncio.create_task(each.act()) for each in visitors]
            await soon(
                lambda: len(ada.seqs) > WORLDS and all(v.acted > 20 for v in visitors),
                within_s=BUILT_WITHIN_S,
            )
            assert await stopped(hub) < EXITS_WITHIN_S
            await soon(lambda: all(each.goodbye for each in visitors))
            for task in acting:
                task.cancel()
            ends = await asyncio.gather(*acting, return_exceptions=True)
            assert not [each for each in ends if isinstance(each, HubRefused)]
        assert [each.goodbye["code"] for each in visitors] == [1012] * len(visitors)
        assert len({each.goodbye["retry_after_ms"] for each in visitors}) > 1
        assert "not stored" not in hub.output
        assert_on_record(hub, visitors)

        await asyncio.to_thread(hub.start)
        async with HubClient(hub.url) as again:
            ada_again = Visitor(again)
            await again.sign_in("ada", PASSWORD)
            await again.connect(feed={"epoch": ada.epoch, "after": max(ada.seqs)})
            await soon(lambda: ada.built | ada_again.built >= set(builds), within_s=BUILT_WITHIN_S)
    seqs = ada.seqs + ada_again.seqs
    assert seqs == list(range(1, len(seqs) + 1))
    assert json.loads(hub.manage("verify_audit", "--json"))["ok"]


def assert_on_record(hub: LiveHub, visitors: list[Visitor]) -> None:
    """Every accepted action and every end of a socket was stored before the processes ended."""
    actions = "audit('action.speak')", "audit('socket_connected')", "audit('socket_disconnected')"
    counts = hub.query(
        "(lambda audit: [" + ", ".join(actions) + ", EngineSession.objects.filter("
        "closed_at=None).count()])(lambda a: AuditEntry.objects.filter(action=a).count())"
    )
    spoken, connected, disconnected, engines = counts
    acknowledged = sum(each.acted for each in visitors)
    # Each had at most one on its way, whose answer the goodbye may have overtaken.
    assert acknowledged <= spoken <= acknowledged + len(visitors)
    assert (connected, disconnected) == (len(visitors) + 1, len(visitors) + 1)  # and the engine
    assert engines == 0


async def test_the_hub_is_not_ready_before_anybody_is_told_to_go(tmp_path: Any) -> None:
    with LiveHub(data_dir=tmp_path, HUB_STOP_NOTICE_S="60") as hub:
        hub.add_person("ada")
        async with AsyncExitStack() as stack:
            ada = await visitor(stack, hub, "ada")
            stopping = asyncio.create_task(asyncio.to_thread(hub.stop))
            await soon(lambda: unready(ada.client))
            handshake = await answer(ada.client, "/socket.io/?EIO=4&transport=polling")
            assert handshake[0] == 503
            assert (await ada.client.act("speak", {"text": "still served"}))["ok"]
            assert not ada.goodbye
            hub.signal("SIGTERM")  # the second one: no time for a notice
            assert await stopping == 0
            assert ada.goodbye["code"] == 1012


async def unready(client: HubClient) -> bool:
    """Whether the hub says that it is ending, and that nothing else is wrong."""
    status, body = await answer(client, "/readyz")
    wrong = [name for name, works in body["checks"].items() if not works]
    return (status, wrong) == (503, ["not_draining"])


async def answer(client: HubClient, path: str) -> tuple[int, Any]:
    """Status and JSON of an address."""
    async with client._http.get(client.url + path) as said:
        return said.status, await said.json(content_type=None)


@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.soak)])
async def test_either_signal_stops_it_gracefully(tmp_path: Any, name: str) -> None:
    with LiveHub(data_dir=tmp_path) as hub:
        hub.add_person("ada")
        async with AsyncExitStack() as stack:
            ada = await visitor(stack, hub, "ada")
            hub.signal(name)
            await soon(lambda: bool(ada.goodbye), within_s=EXITS_WITHIN_S)
            assert await stopped(hub) < EXITS_WITHIN_S


DEAF = {
    "HUB_BYTES_PER_S": "100000000",
    "HUB_BYTE_BURST": "100000000",
    "HUB_MESSAGES_PER_S": "5000",
    "HUB_OUTBOX_BYTES": "100000000",
    "HUB_OUTBOX_MESSAGES": "100000",
    "HUB_WRITE_DEADLINE_S": "120",  # so that it is there, and stuck, when the stop comes
}
LOUD = "x" * 8_000
WORDS = 900  # more than the kernel takes for a peer that does not read (tcp_wmem: 4 MB)


@pytest.mark.soak
async def test_a_peer_that_never_reads_does_not_hold_up_the_end(tmp_path: Any) -> None:
    with LiveHub(data_dir=tmp_path, **DEAF) as hub:
        hub.add_person("ada")
        async with AsyncExitStack() as stack:
            ada = await visitor(stack, hub, "ada")
            ada.client.on("action_update", lambda _update: None)
            with deaf(hub, ada.client.login["access"]):
                for _ in range(WORDS):
                    await ada.client.act("speak", {"text": LOUD})
                assert await stopped(hub) < EXITS_WITHIN_S
            assert ada.goodbye["code"] == 1012


@contextmanager
def deaf(hub: LiveHub, token: str) -> Iterator[None]:
    """A client that joins, reads until it has, and then never again."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(BUILT_WITHIN_S)
        client.connect(("127.0.0.1", int(hub.url.rpartition(":")[2])))
        client.sendall(UPGRADE.encode())
        assert b"101" in client.recv(100)
        auth = json.dumps({"token": token}).encode()
        client.sendall(Frame(Opcode.TEXT, b"40" + auth).serialize(mask=True))
        heard = b""
        while b"presence_state" not in heard:
            heard += client.recv(65_536)
        yield


UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
