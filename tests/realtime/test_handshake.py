"""The facts of an ASGI scope."""

from realtime.handshake import Handshake
from tests.realtime.asgi import scope


def read(kind: str = "websocket", query: str = "", **more: object) -> Handshake:
    headers = more.pop("headers", ())
    return Handshake.from_scope(scope(kind, query, headers, **more))  # type: ignore[arg-type]  # a test's own


def test_the_transport_is_what_the_connection_is() -> None:
    assert (read("websocket").transport, read("http").transport) == ("websocket", "polling")


def test_what_is_repeated_counts_once_the_first_time() -> None:
    facts = read(query="a=1&a=2&b=", headers=[("Origin", "x"), ("origin", "y"), ("HOST", "h")])
    assert (facts.query, facts.origin, facts.host) == ({"a": "1", "b": ""}, "x", "h")


def test_forwarded_addresses_are_joined_for_the_nearest_proxy_adds_the_last_line() -> None:
    lines = [("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9, 10.0.0.1")]
    assert read(headers=lines).headers["x-forwarded-for"] == "6.6.6.6, 203.0.113.9, 10.0.0.1"


def test_what_is_not_said_is_none_or_empty() -> None:
    facts = read(client=None, extensions=None)
    assert (facts.peer, facts.origin, facts.host, facts.abort) == (None, None, "", None)


def test_the_address_is_that_of_the_connection() -> None:
    assert read(headers=[("x-forwarded-for", "10.0.0.1")]).peer == "192.0.2.1"


def test_only_an_encrypted_scheme_is_secure() -> None:
    assert [read(scheme=scheme).secure for scheme in ("ws", "http", "wss", "https")] == [
        False,
        False,
        True,
        True,
    ]
