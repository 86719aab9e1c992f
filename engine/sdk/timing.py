"""How long the SDK waits for what, and how its waiting grows. The only home of these numbers."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from realtime.hubclock import HubClock

__all__ = ["HubClock", "Timing"]

# Jitter keeps a fleet of engines from coming back in step; it need not be secret, but it is no
# more work to draw it from the system than from a seeded generator that a fork would share.
_jitter = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Timing:
    """Every wait of the SDK, in seconds; the defaults are for real networks."""

    connect_s: float = 10.0
    """From opening the connection to the hub's `session`."""
    ack_s: float = 5.0
    """For one acknowledgement; half of the shortest lease, so that one loss is survived."""
    http_s: float = 60.0
    """For one HTTP request, an upload of 32 MiB included."""
    first_delay_s: float = 0.5
    """Before the second try of anything."""
    longest_delay_s: float = 30.0
    """Where doubling stops."""
    steady_after_s: float = 10.0
    """A connection that lasted this long was a success: the next reconnect starts from the first
    delay again."""
    progress_s: float = 0.25
    """Between two reports of progress: four a second, and a last one at once, make five."""
    upload_tries: int = 8
    drain_s: float = 300.0
    """How long running jobs may take after `stop()`: the longest run of any job."""
    farewell_s: float = 5.0
    """For saying that jobs were given up, and for closing the connection."""

    def delays(self) -> Iterator[float]:
        """Yield ever longer delays: doubling, capped, each shortened at random by up to half."""
        delay = self.first_delay_s
        while True:
            yield delay * _jitter.uniform(0.5, 1.0)
            delay = min(delay * 2, self.longest_delay_s)

    def spread(self, seconds: float) -> float:
        """Return a wait of at least `seconds`, longer at random by up to a quarter."""
        return seconds * _jitter.uniform(1.0, 1.25)
