"""The echo server, or another application, in a process of its own: uvicorn's or Daphne's."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["COMMANDS", "ECHO", "running"]

ROOT = Path(__file__).parents[2]
ECHO = "tests.conformance.echo_app:application"
COMMANDS = {
    "uvicorn": ("-m", "uvicorn", "--log-level", "warning", "--port"),
    "daphne": ("-m", "daphne", "-v", "0", "-p"),
}
STARTS_WITHIN_S = 30.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when somebody listens."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server did not start")


@contextmanager
def running(
    command: str, application: str = ECHO, *, port: int = 0, **variables: str
) -> Iterator[str]:
    """The origin of a server while it runs, on a free port where none is given."""
    port = port or free_port()
    environment = {key: value for key, value in os.environ.items() if key[:7] != "DJANGO_"}
    process = subprocess.Popen(
        [sys.executable, *COMMANDS[command], str(port), application],
        cwd=ROOT,
        env=environment | variables,
    )
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
