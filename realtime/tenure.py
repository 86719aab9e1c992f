"""How long a proved socket may stay: until its token expires, and never longer than SOCKET_LIFE.

Deadlines are on the monotonic clock, so no step of the wall clock prolongs them. The token's holder
is warned a minute before, and may move the deadline by showing a newer token (``reauth``).
"""

from typing import Any, Final

from realtime.namespaces import Socket
from security import clock

__all__ = ["CLOSE_AUTH_ENDED", "begin", "end", "expire", "has_expired", "prolong"]

CLOSE_AUTH_ENDED: Final = 4401
WARNING_MS: Final = 60_000


def begin(socket: Socket[Any], *, life_s: float) -> None:
    """Watch a socket that has just joined."""
    timers = socket.session.node.timers
    socket.state.timers["life"] = timers.after(life_s, lambda: _close(socket, "age"))
    prolong(socket)


def prolong(socket: Socket[Any]) -> None:
    """Watch the expiry that its seat names now, instead of an earlier one."""
    seat, node = socket.state, socket.session.node
    left_ms = seat.expires_at_ms - clock.now_ms()
    for name in ("expiring", "expired"):
        if name in seat.timers:
            seat.timers.pop(name).cancel()
    seat.timers["expiring"] = node.timers.at(
        node.now() + max(0, left_ms - WARNING_MS) / 1000,
        lambda: socket.emit("auth_expiring", _body(socket)),
    )
    seat.timers["expired"] = node.timers.at(node.now() + left_ms / 1000, lambda: expire(socket))


def has_expired(socket: Socket[Any]) -> bool:
    """Whether the token is over by the hub's clock, whatever the timers say."""
    return bool(clock.now_ms() >= socket.state.expires_at_ms)


def expire(socket: Socket[Any]) -> None:
    """The token is over: say so, and close."""
    socket.emit("auth_expired", _body(socket))
    _close(socket, "token expired")


def end(socket: Socket[Any]) -> None:
    """The socket has left: nothing is watched any more."""
    for timer in socket.state.timers.values():
        timer.cancel()
    socket.state.timers.clear()


def _close(socket: Socket[Any], reason: str) -> None:
    socket.session.close(CLOSE_AUTH_ENDED, detail=reason)


def _body(socket: Socket[Any]) -> dict[str, object]:
    return {"token_expires_at": socket.state.expires_at_ms, "server_time": clock.now_ms()}
