"""What floors below take as "not now", because they do not know this one::

OverflowError
|-- StoreFull            the store is at its bound: refuse, and forget nothing
'-- StateUnreachable     the other processes' part cannot be asked: refuse, and try again later
"""

__all__ = ["StateUnreachable", "StoreFull"]


class StoreFull(OverflowError):
    """A store holds as much as it may. Nothing was stored, and nothing was forgotten for it."""

    def __init__(self, store: str, capacity: int) -> None:
        self.store, self.capacity = store, capacity
        super().__init__(store, capacity)

    def __str__(self) -> str:
        return f"the {self.store} store holds {self.capacity} entries, as many as it may"


class StateUnreachable(OverflowError):
    """The state that processes share cannot be asked at the moment; nothing was decided."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the shared state cannot be reached: {self.reason}"
