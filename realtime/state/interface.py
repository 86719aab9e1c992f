"""What the hub asks of its shared state. Every backend runs the same contract tests.

StoreFull    the store is at its bound: refuse, and forget nothing
"""

from collections.abc import Awaitable
from typing import Protocol

__all__ = ["NonceStore", "StoreFull"]


class StoreFull(OverflowError):
    """A store holds as much as it may. Nothing was stored, and nothing was forgotten for it."""

    def __init__(self, store: str, capacity: int) -> None:
        self.store, self.capacity = store, capacity
        super().__init__(store, capacity)

    def __str__(self) -> str:
        return f"the {self.store} store holds {self.capacity} entries, as many as it may"


class NonceStore(Protocol):
    """Remembers each nonce until it expires, so that no message is accepted twice."""

    def consume(
        self,
        scope: str,
        principal: str,
        nonce: str,
        *,
        expires_at_ms: int,
        now_ms: int,
    ) -> bool | Awaitable[bool]:
        """Use up a nonce, atomically. True: it was fresh. False: it was used before.

        ``scope`` is ``user``, ``engine`` or ``agent``: their nonces never meet.

        ``expires_at_ms`` is absolute: the message's ``ts`` + drift + grace. A nonce whose time is
        over is never fresh, also when ``now_ms`` has gone back since: whether it was used is
        forgotten then. Of any number of racers exactly one gets True. Raises StoreFull, and then
        the message has to be refused.
        """
