"""What can be wrong on the wire, and whose fault it is.

ProtocolError                       the peer's fault: the connection closes with `.reason`
├── PacketError                     an Engine.IO packet is wrong        "parse error"
│   ├── EmptyPacket
│   ├── UnknownPacketType
│   ├── BadBase64
│   └── InvalidText
├── TransportFault                  the transport is misused            "transport error"
│   ├── PayloadTooLarge             (a WebSocket is closed with 1009)
│   ├── TooManyPackets
│   └── WrongDirection
├── DecoderError                    a Socket.IO packet is wrong         "forced close"
│   ├── EmptyMessage
│   ├── UnknownMessageType
│   ├── BadAckId
│   ├── BadAttachmentCount
│   ├── TooManyAttachments
│   ├── BadJson
│   ├── BadPayload
│   ├── ReservedEvent
│   ├── BadPlaceholder
│   ├── UnexpectedBinary
│   └── UnexpectedText
└── InvalidState                    right packet, wrong moment          "forced server close"
    ├── NotJoined
    ├── ConnectedTwice
    ├── ConnectErrorFromClient
    └── TooManyNamespaces
LocalProtocolError                  our own fault: nothing was queued, the connection lives on
├── NamespaceNotJoined
├── NoConnectPending
├── BadEventName
├── ReservedEventName
├── NotSerialisable
├── TooManyAttachmentsToSend
└── EmptyPayload
"""

from dataclasses import dataclass
from typing import ClassVar

from realtime.protocol.reasons import CloseReason

__all__ = [
    "BadAckId",
    "BadAttachmentCount",
    "BadBase64",
    "BadEventName",
    "BadJson",
    "BadPayload",
    "BadPlaceholder",
    "ConnectErrorFromClient",
    "ConnectedTwice",
    "DecoderError",
    "EmptyMessage",
    "EmptyPacket",
    "EmptyPayload",
    "InvalidState",
    "InvalidText",
    "LocalProtocolError",
    "NamespaceNotJoined",
    "NoConnectPending",
    "NotJoined",
    "NotSerialisable",
    "PacketError",
    "PayloadTooLarge",
    "ProtocolError",
    "ReservedEvent",
    "ReservedEventName",
    "TooManyAttachments",
    "TooManyAttachmentsToSend",
    "TooManyNamespaces",
    "TooManyPackets",
    "TransportFault",
    "UnexpectedBinary",
    "UnexpectedText",
    "UnknownMessageType",
    "UnknownPacketType",
    "WrongDirection",
]

# A fault's text ends up in logs and tables; the peer does not choose how long it is.
_SHOWN_CHARACTERS = 64


def _shown(text: str) -> str:
    """Elide and escape `text` of the peer: ASCII, one line, of bounded length."""
    return ascii(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


class ProtocolError(Exception):
    """The peer broke the protocol; the connection ends with `reason`."""

    reason: ClassVar[CloseReason]


# Engine.IO packets


class PacketError(ProtocolError):
    """An Engine.IO packet cannot be read."""

    reason = CloseReason.PARSE_ERROR


class EmptyPacket(PacketError):
    """A text frame, a segment of a polling body, or the whole body is empty."""

    def __str__(self) -> str:
        return "empty Engine.IO packet"


@dataclass(eq=False)
class UnknownPacketType(PacketError):
    """The first character of a packet is none of `0` to `6` and not `b`."""

    character: str

    def __str__(self) -> str:
        return f"unknown Engine.IO packet type {_shown(self.character)}"


class BadBase64(PacketError):
    """The text after `b` is not base64 with its padding."""

    def __str__(self) -> str:
        return "binary packet is not valid base64"


class InvalidText(PacketError):
    """Text that UTF-8 cannot carry: a lone surrogate, or bytes that are no UTF-8."""

    def __str__(self) -> str:
        return "text is not valid UTF-8"


# The transport


class TransportFault(ProtocolError):
    """The peer misuses the transport itself."""

    reason = CloseReason.TRANSPORT_ERROR


@dataclass(eq=False)
class PayloadTooLarge(TransportFault):
    """A frame is larger than `maxPayload`; sizes are bytes."""

    size: int
    limit: int

    def __str__(self) -> str:
        return f"frame of {self.size} bytes, at most {self.limit} are allowed"


class TooManyPackets(TransportFault):
    """Pongs and the like come faster than any client has a use for; a meter says what that is."""

    def __str__(self) -> str:
        return "packets that need no answer come too fast"


@dataclass(eq=False)
class WrongDirection(TransportFault):
    """The client sent a packet that only a server sends: since Engine.IO v4 servers ping."""

    packet: str

    def __str__(self) -> str:
        return f"a client may not send a {self.packet} packet"


# Socket.IO packets


class DecoderError(ProtocolError):
    """A Socket.IO packet cannot be read."""

    reason = CloseReason.FORCED_CLOSE


class EmptyMessage(DecoderError):
    """An Engine.IO message without content: legal there, no packet here."""

    def __str__(self) -> str:
        return "empty Socket.IO packet"


@dataclass(eq=False)
class UnknownMessageType(DecoderError):
    """The first character of a message is none of `0` to `6`."""

    character: str

    def __str__(self) -> str:
        return f"unknown Socket.IO packet type {_shown(self.character)}"


@dataclass(eq=False)
class BadAckId(DecoderError):
    """An acknowledgement id is missing from an ACK, unwanted, or beyond 2^53 - 1."""

    packet: str
    problem: str

    def __str__(self) -> str:
        return f"{self.packet}: acknowledgement id {self.problem}"


class BadAttachmentCount(DecoderError):
    """The number of attachments is missing, zero, not ASCII digits, or has no dash."""

    def __str__(self) -> str:
        return "binary packet without a valid number of attachments"


@dataclass(eq=False)
class TooManyAttachments(DecoderError):
    """A binary packet announces more attachments than are allowed."""

    count: int
    limit: int

    def __str__(self) -> str:
        return f"{self.count} attachments announced, at most {self.limit} are allowed"


@dataclass(eq=False)
class BadJson(DecoderError):
    """The payload is not JSON; `problem` is the parser's word and holds no content."""

    problem: str

    def __str__(self) -> str:
        return f"bad JSON: {self.problem}"


@dataclass(eq=False)
class BadPayload(DecoderError):
    """The payload is JSON, but not what this packet type carries."""

    packet: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.packet} carries {self.wanted}"


@dataclass(eq=False)
class ReservedEvent(DecoderError):
    """The peer sent an event under a name that belongs to the library."""

    name: str

    def __str__(self) -> str:
        return f"event name {_shown(self.name)} is reserved"


class BadPlaceholder(DecoderError):
    """A placeholder's `num` is not an integer that points at an attachment."""

    def __str__(self) -> str:
        return "placeholder points at no attachment"


class UnexpectedBinary(DecoderError):
    """A binary message came when no packet waits for attachments."""

    def __str__(self) -> str:
        return "binary message when none was expected"


class UnexpectedText(DecoderError):
    """A text message came when a packet waits for attachments."""

    def __str__(self) -> str:
        return "text message while waiting for attachments"


# The state of a connection


class InvalidState(ProtocolError):
    """A well-formed packet that is not allowed at this moment."""

    reason = CloseReason.FORCED_SERVER_CLOSE


@dataclass(eq=False)
class NotJoined(InvalidState):
    """Any packet but CONNECT for a namespace that is not, or no longer, or not yet joined."""

    packet: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.packet} for namespace {_shown(self.namespace)}, which is not joined"


@dataclass(eq=False)
class ConnectedTwice(InvalidState):
    """CONNECT for a namespace that is joined, or whose CONNECT is not answered yet."""

    namespace: str

    def __str__(self) -> str:
        return f"second CONNECT for namespace {_shown(self.namespace)}"


class ConnectErrorFromClient(InvalidState):
    """CONNECT_ERROR goes from server to client only."""

    def __str__(self) -> str:
        return "a client may not send CONNECT_ERROR"


@dataclass(eq=False)
class TooManyNamespaces(InvalidState):
    """More namespaces joined or pending on one connection than are allowed."""

    limit: int

    def __str__(self) -> str:
        return f"at most {self.limit} namespaces are allowed on one connection"


# Our own faults


class LocalProtocolError(Exception):
    """This program asked for something the protocol does not allow; nothing was queued."""


@dataclass(eq=False)
class NamespaceNotJoined(LocalProtocolError):
    """A command for a namespace that is not joined, perhaps because the peer just left it."""

    namespace: str

    def __str__(self) -> str:
        return f"namespace {_shown(self.namespace)} is not joined"


@dataclass(eq=False)
class NoConnectPending(LocalProtocolError):
    """An answer to a CONNECT that is not waiting for one."""

    namespace: str

    def __str__(self) -> str:
        return f"no CONNECT is pending for namespace {_shown(self.namespace)}"


class BadEventName(LocalProtocolError):
    """The first argument of an event is neither text nor a number."""

    def __str__(self) -> str:
        return "an event begins with its name: text or a number"


@dataclass(eq=False)
class ReservedEventName(LocalProtocolError):
    """We tried to emit an event under a name that belongs to the library."""

    name: str

    def __str__(self) -> str:
        return f"event name {_shown(self.name)} is reserved"


@dataclass(eq=False)
class NotSerialisable(LocalProtocolError):
    """Arguments that are neither JSON values nor bytes, or nested too deeply."""

    problem: str

    def __str__(self) -> str:
        return f"not serialisable: {self.problem}"


@dataclass(eq=False)
class TooManyAttachmentsToSend(LocalProtocolError):
    """A packet with more bytes values than the stock client's parser takes."""

    count: int
    limit: int

    def __str__(self) -> str:
        return f"{self.count} attachments in one packet, clients take at most {self.limit}"


class EmptyPayload(LocalProtocolError):
    """A polling body must hold a packet: the JavaScript client fails on an empty one."""

    def __str__(self) -> str:
        return "a polling body needs at least one packet"
