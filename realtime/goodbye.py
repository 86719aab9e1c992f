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
# Nobody is told the very moment that another one is told: up to this many times the shortest pause.
SPREAD: Final = 2.0
# A restart sends everybody away at once. A process with its database takes a few hundred connects a
# second (tests/storm measures it) and has other work to do; but nobody is kept away for long.
RETURNS_PER_S: Final = 200.0
LONGEST_SPREAD_S: Final = 30.0


def goodbye_frames(
    namespace: str, code: int, reason: str, *, retry_after_ms: int | None = None, crowd: int = 0
) -> tuple[Frame, ...]:
    """The last frames of a socket: ``goodbye``, and a DISCONNECT where the answer is no.

    ``retry_after_ms`` is for those who may come back; the code's own pause when None. ``crowd`` is
    how many are sent away at the same time: their returns are spread so that the next process can
    take them.
    """
    known = CLOSE_CODES.get(code, CLOSE_CODES[1011])
    body: dict[str, object] = {"code": code, "reason": reason}
    if known.retry_after_ms is None:
        body["retry_after_ms"] = None
        last = tuple(socketio.encode_disconnect(namespace))
    else:
        body["retry_after_ms"] = _spread(retry_after_ms or known.retry_after_ms, crowd)
        last = ()
    return (*socketio.encode_event(namespace, ["goodbye", body]), *last)


def _spread(least_ms: int, crowd: int) -> int:
    window_ms = min(LONGEST_SPREAD_S, crowd / RETURNS_PER_S) * 1000
    share = random.random()  # noqa: S311 - spreads load, keeps no secret
    return int(least_ms + share * max(least_ms * SPREAD, window_ms))
