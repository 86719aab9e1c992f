"""The clients that people use, through each transport: socket.io-client and python-socketio's."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import socketio
from engineio.payload import Payload

from tests.conformance.echo_process import running
from tests.end_to_end.tools import install_from_npm, require_program

SCRIPTS = Path(__file__).parent / "node"
CURRENT, OLDER = "socket.io-client@4.8.4", "socket.io-client@4.1.3"
SCRIPT_S = 100.0
WITHIN_S = 10.0
MODES = {"polling": ["polling"], "upgrade": None, "websocket": ["websocket"]}


def run(script: str, release: str, config: pytest.Config, **variables: str) -> dict[str, Any]:
    """Run a script of ``node/`` on a release of the client; returns what it prints."""
    assert config.cache is not None
    client = install_from_npm(release, Path(config.cache.mkdir("npm")))
    environment = {
        "SOCKET_IO_CLIENT": str(client),
        "NEW_CLIENT": "yes" if release == CURRENT else "",
        **variables,
    }
    node = [require_program("node", "nodejs"), SCRIPTS / script]
    done = subprocess.run(
        node, env=environment, capture_output=True, text=True, timeout=SCRIPT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


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
