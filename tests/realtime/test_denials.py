"""How Engine.IO says no: codes, sentences, and the checks that need no session."""

from typing import Any

import pytest

from realtime import denials
from realtime.handshake import Denial, Handshake


def handshake(query: dict[str, str], origin: str | None = None) -> Handshake:
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    headers = [] if origin is None else [(b"origin", origin.encode("latin-1"))]
    scope: dict[str, Any] = {"type": "http", "path": "/", "query_string": pairs.encode()}
    return Handshake.from_scope({**scope, "headers": headers})


@pytest.mark.parametrize(
    ("denial", "status", "code", "message"),
    [
        (denials.TRANSPORT_UNKNOWN, 400, 0, "Transport unknown"),
        (denials.UNKNOWN_SID, 400, 1, "Session ID unknown"),
        (denials.BAD_METHOD, 400, 2, "Bad handshake method"),
        (denials.BAD_REQUEST, 400, 3, "Bad request"),
        (denials.TOO_LARGE, 413, 3, "Payload too large"),
        (denials.UNSUPPORTED, 400, 5, "Unsupported protocol version"),
    ],
)
def test_clients_know_the_codes(denial: Denial, status: int, code: int, message: str) -> None:
    assert (denial.status, denial.code, denial.message) == (status, code, message)


@pytest.mark.parametrize(
    ("query", "origin", "denial"),
    [
        ({"transport": "polling"}, None, None),
        ({"transport": "websocket"}, "https://a.example", None),
        ({"transport": "websocket"}, "\t\xff", None),
        ({}, None, denials.TRANSPORT_UNKNOWN),
        ({"transport": "webtransport"}, None, denials.TRANSPORT_UNKNOWN),
        ({"transport": "abc"}, "\x01", denials.TRANSPORT_UNKNOWN),
        ({"transport": "polling"}, "\x01", denials.BAD_REQUEST),
        ({"transport": "polling"}, "https://a.example\x7f", denials.BAD_REQUEST),
    ],
)
def test_the_transport_is_looked_at_before_the_origin(
    query: dict[str, str], origin: str | None, denial: Denial | None
) -> None:
    assert denials.malformed(handshake(query, origin)) is denial


@pytest.mark.parametrize("version", ["4", "3", "5", "abc", "", "04"])
def test_version_four_is_spoken_and_no_other(version: str) -> None:
    expected = None if version == "4" else denials.UNSUPPORTED
    assert denials.unsupported(handshake({"EIO": version})) is expected
    assert denials.unsupported(handshake({})) is denials.UNSUPPORTED
