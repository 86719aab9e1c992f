"""Only a trusted proxy can say that a browser came by TLS."""

from typing import Any

import pytest

from hubsite.forwarded import ForwardedScheme
from security.addresses import networks

PROXY, OTHER = "10.0.0.1", "203.0.113.9"


async def scheme(*said: bytes, peer: str | None = PROXY, kind: str = "http", **more: Any) -> str:
    """The scheme that the application sees."""
    seen: list[str] = []

    async def application(scope: dict[str, Any], _receive: Any, _send: Any) -> None:
        seen.append(scope.get("scheme", ""))

    scope = {
        "type": kind,
        "scheme": "ws" if kind == "websocket" else "http",
        "client": None if peer is None else (peer, 1),
        "headers": [(b"X-Forwarded-Proto", value) for value in said],
    }
    trusted = networks(more.get("trusted", [PROXY]))
    await ForwardedScheme(application, trusted=trusted)(scope, None, None)
    return seen[0]


async def test_a_trusted_proxys_word_counts() -> None:
    assert await scheme(b"https") == "https"
    assert await scheme(b"https", kind="websocket") == "wss"
    assert await scheme(b"http") == "http"
    assert await scheme() == "http"


async def test_the_nearest_proxys_word_counts_and_not_what_a_client_wrote_before_it() -> None:
    assert await scheme(b"https, http") == "http"
    assert await scheme(b"https", b"http") == "http"
    assert await scheme(b"http", b"HTTPS") == "https"


@pytest.mark.parametrize("peer", [OTHER, None, "unix:", ""])
async def test_nobody_elses_word_counts(peer: str | None) -> None:
    assert await scheme(b"https", peer=peer) == "http"
    assert await scheme(b"https", peer=peer, kind="websocket") == "ws"


async def test_without_proxies_nobodys_word_counts() -> None:
    assert await scheme(b"https", trusted=[]) == "http"
