"""One opened connection with made-up namespaces, shared by the tests of the connection."""

from collections.abc import Callable
from typing import Any

import pytest

from realtime.protocol import Connection, Limits

Opener = Callable[..., Connection]


@pytest.fixture
def open_connection() -> Opener:
    """Open a connection at time 0 whose open packet is already sent; `/` joined unless told."""

    def opener(*, joined: tuple[str, ...] = ("/",), **options: Any) -> Connection:
        settings = {"limits": Limits(), "namespaces": {"/", "/custom", "/other"}, **options}
        connection = Connection(sid="engine-sid", now=0.0, **settings)
        for namespace in joined:
            connection.receive_frame("40" if namespace == "/" else f"40{namespace},", now=0.0)
            connection.accept(namespace, f"id-of-{namespace}")
        connection.frames_to_send()
        return connection

    return opener


@pytest.fixture
def connection(open_connection: Opener) -> Connection:
    """Return a connection on which `/` is joined."""
    return open_connection()
