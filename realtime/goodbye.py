"""Close codes of the hub, what each means, and the goodbye that says so before the close.

The table is the contract of docs/protocol.md, "Close codes". Codes that mean no, or come back with
a new token, are followed by a Socket.IO DISCONNECT, which stops a stock client's reconnecting.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from realtime.protocol import Frame, socketio

__all__ = ["CLOSE_CODES", "CloseCode", "goodbye_frames"]


@dataclass(frozen=True, slots=True)
class CloseCode:
    """A close code: its meaning, and when the client may come back (None: not by itself)."""

    meaning: str
    retry_after_ms: int | None


CLOSE_CODES: Final[Mapping[int, CloseCode]] = {
    1000: CloseCode("normal end", 0),
    1001: CloseCode("going away", 500),
    1009: CloseCode("frame too large", 1_000),
    1011: CloseCode("internal error in this socket's handler", 1_000),
    1012: CloseCode("restart", 500),
    4400: CloseCode("protocol", None),
    4401: CloseCode("authentication ended", None),
    4403: CloseCode("forbidden", None),
    4408: CloseCode("no authentication, pong or heartbeat in time", 500),
    4409: CloseCode("replaced by a newer connection of the same engine", None),
    4410: CloseCode("slow reader", 1_000),
    4429: CloseCode("violation budget spent", 60_000),
}
# A restart sends everybody away at once; they come back over this many times the shortest pause.
SPREAD: Final = 2.0


def goodbye_frames(
    namespace: str, code: int, reason: str, *, retry_after_ms: int | None = None
) -> tuple[Frame, ...]:
    """The last frames of a socket: ``goodbye``, and a DISCONNECT where the answer is no.

    ``retry_after_ms`` is for those who may come back; the code's own pause when None.
    """
    known = CLOSE_CODES.get(code, CLOSE_CODES[1011])
    body: dict[str, object] = {"code": code, "reason": reason}
    if known.retry_after_ms is None:
        body["retry_after_ms"] = None
        last = tuple(socketio.encode_disconnect(namespace))
    else:
        jitter = 1 + random.random() * SPREAD  # noqa: S311 - spreads load, keeps no secret
        body["retry_after_ms"] = int((retry_after_ms or known.retry_after_ms) * jitter)
        last = ()
    return (*socketio.encode_event(namespace, ["goodbye", body]), *last)
