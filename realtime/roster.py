"""The proved sockets of this process by principal: to count them, to reach them, to end them."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from realtime.namespaces import Socket
from security.principals import Principal

__all__ = ["Roster"]

# Longer than the longest wait for the database while somebody proves who they are.
ENDINGS_KEPT_S: Final = 60.0


class Roster:
    """Who is connected here, across all guarded namespaces, and whose right to be has just ended.

    Endings are kept for a while, because somebody may be between the database's yes and the roster
    when the yes is taken back. Times are seconds of the loop's monotonic clock.
    """

    def __init__(self) -> None:
        self._sockets: dict[str, dict[Socket[Any], None]] = {}
        self._endings: OrderedDict[tuple[str, str | None], float] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(sockets) for sockets in self._sockets.values())

    def __iter__(self) -> Iterator[Socket[Any]]:
        for sockets in list(self._sockets.values()):
            yield from list(sockets)

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

    def end(self, label: str, session_id: str | None, *, now: float) -> tuple[Socket[Any], ...]:
        """A right to be here has ended: of one login, or with None of the whole principal.

        Returns the sockets that lived by it; closing them is the caller's duty.
        """
        self._endings[label, session_id] = now
        self._endings.move_to_end((label, session_id))
        while next(iter(self._endings.values())) < now - ENDINGS_KEPT_S:
            self._endings.popitem(last=False)
        return tuple(
            socket
            for socket in self.of(label)
            if session_id in (None, socket.state.principal.session_id)
        )

    def ended_since(self, principal: Principal, since: float) -> bool:
        """Whether the right of this principal has ended at that time or later."""
        keys = ((principal.label, None), (principal.label, principal.session_id))
        return any(self._endings.get(key, float("-inf")) >= since for key in keys)
