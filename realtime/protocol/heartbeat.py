"""The server's heartbeat of Engine.IO v4, section "Heartbeat": when to ping, when to give up.

It holds no timer: the shell asks `wakes_at()` when to come back, and brings the time along.
"""

from typing import Final

__all__ = ["Heartbeat"]

# The part of the timeout that a ping may be late without moving the deadline: a timer's usual
# lateness does not add up, and a process that stood still does not take it out on its clients.
FORGIVEN: Final = 0.25


class Heartbeat:
    """A ping one interval after opening, then one interval after each pong.

    `now` is a monotonic time in seconds; it belongs to the session and survives an upgrade.
    """

    __slots__ = ("_deadline", "_interval", "_next_ping", "_timeout")

    def __init__(self, interval_ms: int, timeout_ms: int, now: float) -> None:
        self._interval = interval_ms / 1000
        self._timeout = timeout_ms / 1000
        self._next_ping = now + self._interval
        self._deadline: float | None = None

    def wakes_at(self) -> float:
        """Return when something is due next: the ping, or the end of the wait for its pong."""
        return self._next_ping if self._deadline is None else self._deadline

    def take_ping(self, now: float) -> bool:
        """Return whether a ping is due now; if so the caller sends it: its pong is awaited."""
        if self._deadline is not None or now < self._next_ping:
            return False
        in_time = now - self._next_ping <= self._timeout * FORGIVEN
        self._deadline = (self._next_ping if in_time else now) + self._timeout
        return True

    def pong(self, now: float) -> None:
        """Note a pong.

        One that answers no ping moves nothing: the client waits for the ping it was promised.
        """
        if self._deadline is not None:
            self._deadline = None
            self._next_ping = now + self._interval

    def rearm(self, now: float) -> None:
        """Give a ping that is under way a whole timeout again: its pong changes transports."""
        if self._deadline is not None:
            self._deadline = now + self._timeout

    def expired(self, now: float) -> bool:
        """Return whether a ping went unanswered for the whole timeout."""
        return self._deadline is not None and now >= self._deadline
