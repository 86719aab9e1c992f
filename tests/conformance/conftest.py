"""Echo servers for the tests of a session, and a client."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.conformance.echo_process import COMMANDS, running


@pytest.fixture(scope="session", params=list(COMMANDS))
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """An echo server with the times that the public suites expect."""
    with running(request.param) as origin:
        yield origin


@pytest.fixture(scope="session", params=list(COMMANDS))
def patient_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """An echo server that pings as often, but leaves clients on a busy machine their time."""
    times = {"ECHO_PING_TIMEOUT_MS": "5000", "ECHO_CONNECT_TIMEOUT_MS": "10000"}
    with running(request.param, **times) as origin:
        yield origin


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a pool: each request has a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session
