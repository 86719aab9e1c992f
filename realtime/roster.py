"""The proved sockets of this process by principal: to count them, to reach them, to end them."""

from collections.abc import Iterator
from typing import Any

from realtime.namespaces import Socket

__all__ = ["Roster"]


class Roster:
    """Who is connected here, across all guarded namespaces."""

    def __init__(self) -> None:
        self._sockets: dict[str, dict[Socket[Any], None]] = {}

    def __len__(self) -> int:
        return sum(len(sockets) for sockets in self._sockets.values())

    def add(self, label: str, socket: Socket[Any]) -> None:
        """A socket has proved who it is."""
        self._sockets.setdefault(label, {})[socket] = None

    def remove(self, label: str, socket: Socket[Any]) -> None:
        """A socket is gone; harmless for a stranger."""
        sockets = self._sockets.get(label)
        if sockets is not None:
            sockets.pop(socket, None)
            if not sockets:
                del self._sockets[label]

    def of(self, label: str) -> tuple[Socket[Any], ...]:
        """The sockets of one principal."""
        return tuple(self._sockets.get(label, ()))

    def __iter__(self) -> Iterator[Socket[Any]]:
        for sockets in list(self._sockets.values()):
            yield from list(sockets)
