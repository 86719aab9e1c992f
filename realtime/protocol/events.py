"""What a connection tells its shell: frozen values, in the order in which the frames came."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from realtime.protocol.engineio import Frame
from realtime.protocol.errors import ProtocolError
from realtime.protocol.reasons import CloseReason

__all__ = [
    "AckReceived",
    "Closed",
    "ConnectReceived",
    "DisconnectReceived",
    "Event",
    "EventReceived",
    "MessageReceived",
    "PongReceived",
    "Throttled",
    "UnknownAck",
]


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message of Engine.IO, where no Socket.IO is spoken on it."""

    data: Frame


@dataclass(frozen=True, slots=True)
class ConnectReceived:
    """The peer asks to join; answer with `Connection.accept` or `Connection.refuse`.

    `auth` is the object sent along, `None` when there was none.
    """

    namespace: str
    auth: dict[str, Any] | None


@dataclass(slots=True)  # as good as frozen, which would double the cost of making one per message
class EventReceived:
    """An event; `args[0]` is its name (text, or a number), attachments stand in place as bytes.

    The caller's duty: with an `ack_id`, acknowledge at most once, and only if a handler ran.
    """

    namespace: str
    args: list[Any]
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The peer's answer to an event sent with an id of `Connection.next_ack_id`."""

    namespace: str
    ack_id: int
    args: list[Any]


@dataclass(frozen=True, slots=True)
class UnknownAck:
    """An answer to nothing that waits: a late one, a second one, or an invention. Only counted."""

    namespace: str
    ack_id: int


@dataclass(frozen=True, slots=True)
class DisconnectReceived:
    """The peer left this namespace; the connection stays open."""

    namespace: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """An event was dropped unread, because the meter asks for a pause of so many milliseconds."""

    namespace: str
    ack_id: int | None
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class PongReceived:
    """The peer answered a ping."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over; nothing follows.

    `namespaces` were joined until now: the shell fires one disconnect for each. `fault` is the
    class of the peer's fault, `None` if there was none; `PayloadTooLarge` means that a WebSocket
    is closed with 1009. `detail` is for logs, never for the peer.
    """

    reason: CloseReason
    detail: str
    namespaces: tuple[str, ...] = ()
    fault: type[ProtocolError] | None = None


Event: TypeAlias = (
    EventReceived
    | AckReceived
    | UnknownAck
    | ConnectReceived
    | DisconnectReceived
    | Throttled
    | PongReceived
    | MessageReceived
    | Closed
)
