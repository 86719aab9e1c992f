"""A server under uvicorn, over real sockets: what in-process peers cannot show."""

import asyncio
import socket as sockets
import threading
from collections.abc import Iterator

import aiohttp
import pytest
import uvicorn
from channels.routing import ProtocolTypeRouter

from realtime.namespaces import Namespace, Socket, on
from realtime.outbox import OutboxLimits
from realtime.protocol import Limits
from realtime.server import Server
from tests.conformance.peers import Peer

REQUEST = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
JOIN = b"\x81\x82\x00\x00\x00\x0040"  # the text frame "40" under a mask of zeros


class Loud(Namespace[None]):
    """Sends everybody much, and remembers why they left."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.count = 0
        self.both_joined = threading.Event()
        self.some_left = threading.Event()

    async def joined(self, socket: Socket[None]) -> None:
        self.count += 1
        if self.count > 1:
            self.both_joined.set()

    def left(self, socket: Socket[None], reason: str) -> None:
        self.ended.append(reason)
        self.some_left.set()

    @on("shout")
    def shout(self, socket: Socket[None], number: int) -> None:
        self.broadcast([""], "much", number, "x" * 100_000)


@pytest.fixture
def loud() -> Loud:
    return Loud()


@pytest.fixture
def origin(loud: Loud) -> Iterator[str]:
    """The server with a small outbox, in a thread of its own."""
    server = Server(
        namespaces=[loud],
        limits=Limits(max_payload=1_000),
        outbox_limits=OutboxLimits(size=300_000, write_deadline_s=0.5),
    )
    listener = sockets.create_server(("127.0.0.1", 0))
    application = ProtocolTypeRouter({"websocket": server.websocket, "http": server.http})
    config = uvicorn.Config(application, lifespan="off", log_level="error", ws="websockets-sansio")
    process = uvicorn.Server(config)
    thread = threading.Thread(target=process.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    process.should_exit = True
    thread.join(20)


@pytest.fixture
def deaf(origin: str) -> Iterator[sockets.socket]:
    """A client that joins and never reads again."""
    client = sockets.socket()
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", int(origin.rpartition(":")[2])))
    client.sendall(REQUEST.encode())
    assert b"101" in client.recv(200)
    client.sendall(JOIN)
    yield client
    client.close()


async def test_a_peer_that_never_reads_is_let_go_and_nobody_else_notices(
    origin: str, deaf: sockets.socket, loud: Loud
) -> None:
    async with aiohttp.ClientSession() as http:
        peer = Peer(http, origin, "/socket.io/")
        async with peer.opened() as wire:
            await wire.send("40")
            assert str(await wire.next()).startswith("40{")
            assert await asyncio.to_thread(loud.both_joined.wait, 10)
            for number in range(60):
                await wire.send(f'42["shout",{number}]')
                assert str(await wire.next()).startswith(f'42["much",{number},')
            assert await asyncio.to_thread(loud.some_left.wait, 10)
            assert loud.ended == ["transport error"]


async def test_a_chunked_post_is_counted_while_it_streams(origin: str) -> None:
    async def chunks(count: int) -> Iterator[bytes]:  # type: ignore[misc]  # an async generator
        yield b"40"
        for _ in range(count):
            yield b"\x1e3" * 50

    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:
        peer = Peer(http, origin, "/socket.io/")
        sid = await peer.open_polling()
        assert (await peer.post(sid, chunks(30))).status == 413
        assert (await peer.post(sid, chunks(5))).text == "ok"
        assert (await peer.get(sid)).text.startswith('40{"sid":')
