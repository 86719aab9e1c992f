"""How an agent hears a room: as one more member of it, with nothing added to the way of an action.

A room's broadcast is encoded once for the people in it, in whatever process they are. An ear takes
the JSON text of each ``action_update`` out of the frame that is ready for the wire; all other
events of the room are not for agents.
"""

from collections.abc import Callable, Collection
from typing import Final

from realtime.hub import HubNamespace
from realtime.protocol import Frame, socketio

__all__ = ["HEARD", "Ear"]

HEARD: Final = "action_update"


def _around_body() -> tuple[str, str]:
    """What our encoder writes before and behind the body of the event."""
    (frame,) = socketio.encode_event(HubNamespace.name, [HEARD, {}])
    before, _, behind = str(frame).partition("{}")
    return before, behind


BEFORE, BEHIND = _around_body()


class Ear:
    """One agent's, in any number of rooms. ``hear(text)`` gets the body of each update as JSON."""

    __slots__ = ("_hear", "id")

    def __init__(self, sid: str, hear: Callable[[str], None]) -> None:
        self.id = f"ear:{sid}"
        self._hear = hear

    def send_encoded(self, frames: Collection[Frame], *, volatile: bool = False) -> None:
        """As ``realtime.fanout.Member``."""
        for frame in frames:
            if isinstance(frame, str) and frame.startswith(BEFORE):
                self._hear(frame[len(BEFORE) : -len(BEHIND)])
