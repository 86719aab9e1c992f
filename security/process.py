"""Things that a process has once, made when first asked for and made anew in a forked child.

Threads, locks held by them, and a writer's chain do not survive a fork; a child that used its
parent's would wait for threads that are not there, or continue a chain that the parent continues.
"""

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerProcess"]

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One lazily made ``T``. For module level: each instance is remembered for good."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._begin_anew)

    def __call__(self) -> T:
        """The one of this process."""
        made = self._made
        return made if made is not None else self._make_once()

    def take(self) -> T | None:
        """Give the one of this process away, to be shut down; the next call makes another."""
        with self._lock:
            made, self._made = self._made, None
            return made

    def _make_once(self) -> T:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()  # the old one may be held by a thread of the parent
        self._made = None
