"""The hub of these scenarios: handlers that fail, and short times where a scenario wants them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.flood.run import SETTINGS
from tests.hostile.stage import Stage
from tests.live import LiveHub

__all__ = ["FailingHub", "isolated"]

PINGS: Final = {"HUB_PING_INTERVAL_S": "0.5", "HUB_PING_TIMEOUT_S": "20"}


class FailingHub(LiveHub):
    """A hub some of whose handlers fail."""

    program = Path(__file__).with_name("manage.py")


@contextmanager
def isolated(*, deadline_s: float = 1.0, **settings: str) -> Iterator[Stage]:
    """A running hub that waits so long for its database, with a cast."""
    times = {"HUB_DATABASE_DEADLINE_S": str(deadline_s), "HUB_WRITE_DEADLINE_S": "1"}
    environ = {"HUB_TRUSTED_PROXIES": "127.0.0.1", **SETTINGS, **PINGS, **times, **settings}
    with FailingHub(**environ) as hub:
        yield Stage(hub)
