"""What the owner of a server may decide about its transports; this base class allows everything.

The general layer asks and obeys; it knows none of the reasons.
"""

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from realtime.handshake import Denial, Handshake
from realtime.namespaces import ConnectionRefused
from realtime.protocol import Closed, Meter
from realtime.protocol.errors import PayloadTooLarge

if TYPE_CHECKING:  # sessions are handed in; they need not be imported
    from realtime.sessions import Session

__all__ = ["Policy"]

CLOSE_NORMAL = 1000
CLOSE_TOO_LARGE = 1009


class Policy:
    """Hooks of the transport, all optional."""

    async def admit(self, handshake: Handshake, *, now: float) -> Denial | None:
        """Refuse a handshake by returning the denial."""
        return None

    def readmit(self, handshake: Handshake, session: "Session") -> Denial | None:
        """Refuse a later request of a session: a poll, a POST, or the upgrade to WebSocket."""
        return None

    def open(self, session: "Session") -> Any:  # noqa: ANN401 - the owner's own state of a session
        """A session begins; what is returned is kept as ``session.policy_state``."""
        return None

    def arriving(self, session: "Session") -> AbstractAsyncContextManager[None]:
        """Around all that a CONNECT brings about; it may wait for its turn. The session may be over
        by then, and is left alone in that case."""
        return nullcontext()

    def proved(self, session: "Session") -> None:
        """A namespace was joined: somebody has proved who they are."""

    def meter(self, session: "Session") -> Meter | None:
        """The rate bucket of a session, asked after each packet's header."""
        return None

    def refused(self, session: "Session", refusal: ConnectionRefused) -> None:
        """A CONNECT was refused; the connection stays open unless this closes it."""

    def slow_reader(self, session: "Session") -> None:
        """A peer does not read; the session is closed with 4410 after this."""

    def close_code(self, closed: Closed) -> int:
        """The WebSocket close code of a connection that closed itself."""
        return CLOSE_TOO_LARGE if closed.fault is PayloadTooLarge else CLOSE_NORMAL

    def close(self, session: "Session", closed: Closed) -> None:
        """A session is over."""
