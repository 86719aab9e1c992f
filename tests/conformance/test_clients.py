"""The clients that people use, through each transport: socket.io-client and python-socketio's."""

import asyncio
from typing import Any

import pytest
import socketio
from engineio.payload import Payload

from tests.conformance.clients import CURRENT, OLDER, run
from tests.conformance.echo_process import running

WITHIN_S = 10.0
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
