"""The clients that people use, through each transport: socket.io-client and python-socketio's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import socketio
from engineio.payload import Payload

from tests.conformance.clients import CURRENT, OLDER, run
from tests.conformance.echo_process import running

WITHIN_S = 30.0
PING_INTERVAL_S = 0.3
MODES = {"polling": ["polling"], "upgrade": None, "websocket": ["websocket"]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("release", [CURRENT, OLDER])
def test_socket_io_client_just_works(
    patient_server: str, release: str, mode: str, pytestconfig: pytest.Config
) -> None:
    said = run("scenarios.mjs", release, pytestconfig, ECHO_URL=patient_server, MODE=mode)
    assert {name: error for name, error in said.items() if error} == {}


def test_socket_io_client_recovers_what_broke_and_not_what_it_left(
    pytestconfig: pytest.Config,
) -> None:
    with running("uvicorn", ECHO_RECOVERY="1", ECHO_PING_TIMEOUT_MS="5000") as origin:
        said = run("recovery.mjs", CURRENT, pytestconfig, ECHO_URL=origin)
    assert said == {
        "first": False,
        "seen": 2,
        "broken": {"same": True, "recovered": True},
        "left": {"same": False, "recovered": False},
    }


@pytest.mark.parametrize("mode", MODES)
async def test_python_socketio_just_works(
    patient_server: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This client gives up at a poll of more than 16 packets unless it is told otherwise.
    monkeypatch.setattr(Payload, "max_decode_packets", 1_000)
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    heard: asyncio.Queue[Any] = asyncio.Queue()
    client.on("auth", heard.put_nowait)
    client.on("message-back", heard.put_nowait)
    client.on("auth", heard.put_nowait, namespace="/custom")
    try:
        await client.connect(
            patient_server,
            auth={"token": "abc"},
            transports=MODES[mode],
            namespaces=["/", "/custom"],
        )
        async with asyncio.timeout(WITHIN_S):
            assert [await heard.get(), await heard.get()] == [{"token": "abc"}] * 2
        assert client.transport() == ("polling" if mode == "polling" else "websocket")
        assert await client.call("message-with-ack", {"a": [b"\x00\x1e", "é"]}) == {
            "a": [b"\x00\x1e", "é"]
        }
        for number in range(300):
            await client.emit("message", number)
        async with asyncio.timeout(WITHIN_S):
            assert [await heard.get() for _ in range(300)] == list(range(300))
    finally:
        await client.disconnect()


@pytest.fixture
async def python_client(patient_server: str) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Connect python-socketio's client; all are disconnected in the end."""
    async with AsyncExitStack() as stack:

        async def connect(mode: str, **options: Any) -> socketio.AsyncClient:
            client = socketio.AsyncClient(
                reconnection_delay=0.05, randomization_factor=0, handle_sigint=False
            )
            stack.push_async_callback(client.disconnect)
            await client.connect(patient_server, transports=MODES[mode], **options)
            return client

        yield connect


async def test_python_socketio_stays_through_ten_heartbeats(
    python_client: Callable[..., Awaitable[Any]],
) -> None:
    clients, gone = [await python_client(mode) for mode in MODES], asyncio.Event()
    for client in clients:
        client.on("disconnect", lambda _reason: gone.set())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10 * PING_INTERVAL_S):
            await gone.wait()
    answers = [await client.call("message-with-ack", 1) for client in clients]
    assert answers == [1] * len(MODES)


@pytest.mark.filterwarnings("ignore:Sending a large body")  # of aiohttp, to this client
@pytest.mark.parametrize("mode", MODES)
async def test_python_socketio_carries_large_messages_and_comes_back_after_too_large_a_one(
    python_client: Callable[..., Awaitable[Any]], mode: str
) -> None:
    client = await python_client(mode)
    for number in range(4):
        text = f"{number}" * 400_000
        assert await client.call("message-with-ack", text) == text
    back: asyncio.Queue[str] = asyncio.Queue()
    client.on("connect", lambda: back.put_nowait(client.sid))
    first = client.sid
    await client.emit("message", "x" * 1_200_000)
    async with asyncio.timeout(WITHIN_S):
        assert await back.get() != first
    assert await client.call("message-with-ack", 1) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_python_socketio_hears_of_an_unknown_namespace_and_can_be_asked_for_its_token(
    patient_server: str, python_client: Callable[..., Awaitable[Any]], mode: str
) -> None:
    stranger, refusals = socketio.AsyncClient(handle_sigint=False), list[Any]()
    stranger.on("connect_error", refusals.append, namespace="/unknown")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await stranger.connect(patient_server, namespaces=["/unknown"], transports=MODES[mode])
    assert refusals == [{"message": "Invalid namespace"}]
    client = await python_client(mode, auth=lambda: {"asked": "each time"})
    assert await client.call("message-with-ack", b"\x00") == b"\x00"
