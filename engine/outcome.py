"""What a decision leads to: values that the shell carries out once the transaction is committed.

No decision holds a channel layer or a socket. Each returns an `Outcome`; the caller answers,
publishes and delivers. What must arrive is a row in the feed already; these are the quick copies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Body", "Broadcast", "Delivery", "Outcome"]

Body = Mapping[str, object]
"""The data of one event, ready to be encoded: JSON values only."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for one engine connection, to be signed and sent by the process named `node`.

    May be lost with its socket: a job not acknowledged is dispatched anew when its lease is over.
    """

    engine_session_id: str
    node: str
    event: str
    body: Body


@dataclass(frozen=True, slots=True)
class Broadcast:
    """An event for all sockets of one person that is not kept: progress, without `seq`."""

    user_id: int
    event: str
    body: Body


@dataclass(frozen=True, slots=True)
class Outcome:
    """The effects of one committed transaction.

    `feed_heads` holds each person whose feed moved and the new head: publish it as the hint.
    `engines_changed`: what `views.engine_status` shows has changed in more than a heartbeat.
    `assignable`: a job or an engine has become free, so `dispatcher.assign` may find something.
    """

    reply: Body = field(default_factory=dict)
    deliveries: tuple[Delivery, ...] = ()
    broadcasts: tuple[Broadcast, ...] = ()
    feed_heads: Mapping[int, int] = field(default_factory=dict)
    engines_changed: bool = False
    assignable: bool = False

    @property
    def feed_users(self) -> frozenset[int]:
        """The people whose feed moved."""
        return frozenset(self.feed_heads)
