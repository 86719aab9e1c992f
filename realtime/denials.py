"""How Engine.IO says no to a request: the codes and sentences of the Node server, and its checks.

Section "HTTP long-polling" of the protocol asks for status 400 only; clients know the codes.
"""

import re
from typing import Final

from realtime.handshake import Denial, Handshake

__all__ = [
    "BAD_METHOD",
    "BAD_REQUEST",
    "COME_LATER",
    "TOO_LARGE",
    "TRANSPORT_UNKNOWN",
    "UNKNOWN_SID",
    "UNSUPPORTED",
    "malformed",
    "unsupported",
]

TRANSPORT_UNKNOWN: Final = Denial(400, 0, "Transport unknown")
UNKNOWN_SID: Final = Denial(400, 1, "Session ID unknown")
BAD_METHOD: Final = Denial(400, 2, "Bad handshake method")
BAD_REQUEST: Final = Denial(400, 3, "Bad request")
UNSUPPORTED: Final = Denial(400, 5, "Unsupported protocol version")
# The Node server has no code of its own for it.
TOO_LARGE: Final = Denial(413, 3, "Payload too large")
# Of a process that is full or stops: clients try a handshake again, but never a refused CONNECT.
COME_LATER: Final = Denial(503, 4, "Try again later", retry_after_ms=2_000)

TRANSPORTS: Final = frozenset({"polling", "websocket"})
# What the Node server lets pass in a header: a tab, and printable Latin-1.
VALID_HEADER: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def malformed(handshake: Handshake) -> Denial | None:
    """The checks that need no session, in the Node server's order."""
    if handshake.query.get("transport") not in TRANSPORTS:
        return TRANSPORT_UNKNOWN
    if not VALID_HEADER.fullmatch(handshake.origin or ""):
        return BAD_REQUEST
    return None


def unsupported(handshake: Handshake) -> Denial | None:
    """Only version 4 of Engine.IO is spoken."""
    return None if handshake.query.get("EIO") == "4" else UNSUPPORTED
