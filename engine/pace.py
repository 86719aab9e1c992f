"""How fast jobs are made for one person, whatever becomes of them.

Quotas count what is open. A world that is asked for, cancelled and tried again all the time, or
refused each time, stays within them all, and each time writes up to a thousand rows, for which
everybody else's writes wait. So what was made is owed, and nothing more is made until it is paid.
Each process counts by itself.
"""

from collections.abc import Mapping
from typing import Final

from security.conf import HubSettings
from security.limits import Buckets
from security.refusals import Refused

__all__ = ["REFUSED_WORLD", "Pace"]

REFUSED_WORLD: Final = 25  # in jobs: a world that is refused is validated, and told in the feed


class Pace:
    """What each person owes."""

    def __init__(self, settings: HubSettings) -> None:
        self._owed = Buckets(settings.jobs_per_s, settings.job_burst)

    def admit(self, user_id: int, now: float) -> None:
        """Raises Refused while a person owes too much."""
        if wait_ms := self._owed.take(str(user_id), now):
            raise Refused("rate_limited", reason="jobs", retry_after_ms=wait_ms)

    def made(self, user_id: int, reply: Mapping[str, object], now: float) -> None:
        """Note the jobs that a reply tells of; where it tells of none there were none."""
        jobs = reply.get("jobs")
        self.owe(user_id, len(jobs) if isinstance(jobs, list) else 0, now)

    def owe(self, user_id: int, jobs: int, now: float) -> None:
        """Note work that is worth so many jobs."""
        self._owed.owe(str(user_id), jobs, now)
