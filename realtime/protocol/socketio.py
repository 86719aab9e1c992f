"""Socket.IO v5 packets inside Engine.IO messages: `<type>[<n>-][/nsp,][ack id][json]`.

Section "Packet encoding" of the protocol. Reading takes two steps, because a rate limit is
charged between them: `decode_header` looks at a few characters, `decode_data` parses the JSON.
Writing gives whole Engine.IO frames, so that a broadcast is encoded once and sent to many.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from realtime.protocol.engineio import Frame
from realtime.protocol.errors import (
    BadAckId,
    BadAttachmentCount,
    BadEventName,
    BadJson,
    BadPayload,
    BadPlaceholder,
    EmptyMessage,
    NotSerialisable,
    ReservedEvent,
    ReservedEventName,
    TooManyAttachments,
    TooManyAttachmentsToSend,
    UnknownMessageType,
)
from realtime.protocol.limits import DEFAULT_MAX_ATTACHMENTS

__all__ = [
    "MAX_ACK_ID",
    "RESERVED_EVENTS",
    "ROOT",
    "Frames",
    "Header",
    "PacketType",
    "Reassembly",
    "decode_data",
    "decode_header",
    "encode_ack",
    "encode_connect",
    "encode_connect_error",
    "encode_disconnect",
    "encode_event",
    "encode_event_json",
]

Frames: TypeAlias = tuple[Frame, ...]

ROOT: Final = "/"
# The names the client and server libraries emit themselves (`RESERVED_EVENTS` of socket.io-parser).
RESERVED_EVENTS: Final = frozenset(
    {
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    }
)
# `Number.MAX_SAFE_INTEGER`: beyond it a JavaScript client could not tell two ids apart.
MAX_ACK_ID: Final = 2**53 - 1
_MAX_DIGITS: Final = len(str(MAX_ACK_ID))
# `str.isdigit` and `int` also take superscript and full-width digits.
_DIGITS: Final = "0123456789"


class PacketType(Enum):
    """The packet types; values are the characters on the wire."""

    # Members are singletons; the hash of `Enum` is a Python call, felt on each packet.
    __hash__ = object.__hash__

    CONNECT = "0"
    DISCONNECT = "1"
    EVENT = "2"
    ACK = "3"
    CONNECT_ERROR = "4"
    BINARY_EVENT = "5"
    BINARY_ACK = "6"


class Header(NamedTuple):
    """Everything before the JSON; `json_at` is where that begins, or the text's end."""

    type: PacketType
    attachments: int
    namespace: str
    ack_id: int | None
    json_at: int


_TYPES: Final = {packet_type.value: packet_type for packet_type in PacketType}
# Reading `value` of a member is a Python call, felt on each packet.
_OPENINGS: Final = {packet_type: f"4{packet_type.value}" for packet_type in PacketType}
_EVENT: Final = PacketType.EVENT
_BINARY_EVENT: Final = PacketType.BINARY_EVENT
_ACK: Final = PacketType.ACK
_BINARY_ACK: Final = PacketType.BINARY_ACK
_CONNECT: Final = PacketType.CONNECT
_DISCONNECT: Final = PacketType.DISCONNECT


# Nearly every message is one of these, which need none of the questions below. Fifteen digits are
# always below `MAX_ACK_ID`.
_PLAIN_EVENT: Final = re.compile(r"2([0-9]{0,15})\[")


# Reading


def decode_header(text: str, *, max_attachments: int = DEFAULT_MAX_ATTACHMENTS) -> Header:
    """Read type, number of attachments, namespace and acknowledgement id of a message.

    Raises `EmptyMessage`, `UnknownMessageType`, `BadAttachmentCount`, `TooManyAttachments` or
    `BadAckId`. The JSON is not looked at.
    """
    if plain := _PLAIN_EVENT.match(text):
        digits = plain[1]
        return Header(_EVENT, 0, ROOT, int(digits) if digits else None, plain.end() - 1)
    if not text:
        raise EmptyMessage
    packet_type = _TYPES.get(text[0])
    if packet_type is None:
        raise UnknownMessageType(text[0])
    at, attachments, namespace, ack_id = 1, 0, ROOT, None
    if packet_type is _BINARY_EVENT or packet_type is _BINARY_ACK:
        attachments, at = _read_attachment_count(text, max_attachments)
    if text.startswith("/", at):
        namespace, at = _read_namespace(text, at)
    if not text.startswith(("[", "{"), at):
        ack_id, at = _read_ack_id(text, at, packet_type)
    if ack_id is None and (packet_type is _ACK or packet_type is _BINARY_ACK):
        raise BadAckId(packet_type.name, "missing")
    return Header(packet_type, attachments, namespace, ack_id, at)


def _read_attachment_count(text: str, limit: int) -> tuple[int, int]:
    dash = text.find("-", 1, 2 + _MAX_DIGITS)
    digits = text[1:dash] if dash > 0 else ""
    if not digits or digits.strip(_DIGITS) or int(digits) == 0:
        raise BadAttachmentCount
    if int(digits) > limit:
        raise TooManyAttachments(int(digits), limit)
    return int(digits), dash + 1


def _read_namespace(text: str, at: int) -> tuple[str, int]:
    comma = text.find(",", at)
    return (text[at:], len(text)) if comma < 0 else (text[at:comma], comma + 1)


def _read_ack_id(text: str, at: int, packet_type: PacketType) -> tuple[int | None, int]:
    window = text[at : at + _MAX_DIGITS + 1]
    digits = window[: len(window) - len(window.lstrip(_DIGITS))]
    if not digits:
        return None, at
    if packet_type not in _WITH_ACK_ID:
        raise BadAckId(packet_type.name, "not allowed")
    if int(digits) > MAX_ACK_ID:
        raise BadAckId(packet_type.name, "too large")
    return int(digits), at + len(digits)


_WITH_ACK_ID: Final = frozenset({_EVENT, _BINARY_EVENT, _ACK, _BINARY_ACK})


# What `decode_data` returns: an object (CONNECT), an array (events and ACKs), text (old
# CONNECT_ERRORs), or nothing. Its caller knows which, by the type in the header.
def decode_data(header: Header, text: str) -> Any:  # noqa: ANN401 - a union by header.type
    """Parse the JSON behind `header` and check that it is what the packet type carries.

    Returns `None` without JSON where that is allowed. Raises `BadJson`, `BadPayload` or
    `ReservedEvent`.
    """
    packet_type, at = header.type, header.json_at
    if at == len(text):
        if packet_type is _CONNECT or packet_type is _DISCONNECT:
            return None
        raise BadPayload(packet_type.name, _PAYLOADS[packet_type][1])
    try:
        data = orjson.loads(text[at:])
    except orjson.JSONDecodeError as error:
        raise BadJson(str(error)) from None
    if packet_type is _EVENT or packet_type is _BINARY_EVENT:
        _check_event(packet_type, data)
    elif type(data) not in _PAYLOADS[packet_type][0]:
        raise BadPayload(packet_type.name, _PAYLOADS[packet_type][1])
    return data


def _check_event(packet_type: PacketType, data: object) -> None:
    if type(data) is not list or not data:
        raise BadPayload(packet_type.name, _PAYLOADS[packet_type][1])
    name = data[0]
    if type(name) is str:
        if name in RESERVED_EVENTS:
            raise ReservedEvent(name)
    elif type(name) is not int and type(name) is not float:
        raise BadPayload(packet_type.name, _PAYLOADS[packet_type][1])


_EVENT_PAYLOAD: Final = ((list,), "an array that begins with the event's name")
_ACK_PAYLOAD: Final = ((list,), "an array")
_PAYLOADS: Final[dict[PacketType, tuple[tuple[type, ...], str]]] = {
    PacketType.CONNECT: ((dict,), "an object or nothing"),
    PacketType.DISCONNECT: ((), "nothing"),
    PacketType.EVENT: _EVENT_PAYLOAD,
    PacketType.ACK: _ACK_PAYLOAD,
    PacketType.CONNECT_ERROR: ((dict, str), "an object"),
    PacketType.BINARY_EVENT: _EVENT_PAYLOAD,
    PacketType.BINARY_ACK: _ACK_PAYLOAD,
}


class Reassembly:
    """A binary packet that waits for its attachments; one made without data keeps none of them."""

    __slots__ = ("_attachments", "_data", "_missing", "header")

    def __init__(self, header: Header, data: list[Any] | None) -> None:
        self.header = header
        self._data = data
        self._missing = header.attachments
        self._attachments: list[bytes] = []

    def receive(self, attachment: bytes) -> bool:
        """Take the next attachment; return whether it was the last."""
        self._missing -= 1
        if self._data is not None:
            self._attachments.append(attachment)
        return self._missing == 0

    def finish(self) -> list[Any] | None:
        """Return the data with its attachments in place, `None` if it was not to be kept.

        Raises `BadPlaceholder`. One attachment may stand in several places, or in none.
        """
        if self._data is not None:
            _fill(self._data, self._attachments)
        return self._data


def _fill(data: list[Any], attachments: Sequence[bytes]) -> None:
    # A stack instead of recursion: the parser allows deeper nesting than the interpreter.
    waiting: list[Any] = [data]
    while waiting:
        container = waiting.pop()
        for key, value in container.items() if type(container) is dict else enumerate(container):
            if type(value) is dict and value.get("_placeholder") is True:
                container[key] = _attachment(value.get("num"), attachments)
            elif type(value) is dict or type(value) is list:
                waiting.append(value)


def _attachment(num: object, attachments: Sequence[bytes]) -> bytes:
    if type(num) is not int or not 0 <= num < len(attachments):
        raise BadPlaceholder
    return attachments[num]


# Writing: frames of Engine.IO messages, hence the "4" in front


def encode_connect(namespace: str, socket_id: str, pid: str | None = None) -> Frames:
    """Return the answer to a CONNECT; `pid` only where connection state recovery is on."""
    body = {"sid": socket_id} if pid is None else {"sid": socket_id, "pid": pid}
    return (_text_frame(PacketType.CONNECT, namespace, _to_json(body)),)


def encode_connect_error(namespace: str, message: str, data: object = None) -> Frames:
    """Return the refusal of a CONNECT, always an object; `data` is left out when `None`.

    Raises `NotSerialisable`.
    """
    body = {"message": message} if data is None else {"message": message, "data": data}
    return (_text_frame(PacketType.CONNECT_ERROR, namespace, _to_json(body)),)


def encode_disconnect(namespace: str) -> Frames:
    """Return the packet by which the server ends a namespace."""
    return (_text_frame(PacketType.DISCONNECT, namespace, ""),)


def encode_event(namespace: str, args: Sequence[Any], ack_id: int | None = None) -> Frames:
    """Return an event; `args[0]` is its name, bytes at any depth become attachments.

    Raises `BadEventName`, `ReservedEventName`, `NotSerialisable` or `TooManyAttachmentsToSend`.
    """
    _check_name(args)
    return _packet(_EVENT, _BINARY_EVENT, namespace, args, ack_id)


def encode_event_json(namespace: str, args_json: str, ack_id: int | None = None) -> Frames:
    """Return an event whose arguments, name included, are a JSON array already; it is trusted."""
    return (_text_frame(_EVENT, namespace, args_json, ack_id),)


def encode_ack(namespace: str, ack_id: int, args: Sequence[Any]) -> Frames:
    """Return the answer to an event that asked for one, under the id it gave.

    Raises `NotSerialisable` or `TooManyAttachmentsToSend`.
    """
    return _packet(_ACK, _BINARY_ACK, namespace, args, ack_id)


def _check_name(args: Sequence[Any]) -> None:
    name = args[0] if args else None
    if isinstance(name, str):
        if name in RESERVED_EVENTS:
            raise ReservedEventName(name)
    elif isinstance(name, bool) or not isinstance(name, int | float):
        raise BadEventName


def _packet(
    plain: PacketType, binary: PacketType, namespace: str, args: Sequence[Any], ack_id: int | None
) -> Frames:
    array = args if type(args) is list else list(args)
    try:
        text = orjson.dumps(array).decode()
    except TypeError:  # bytes, or what nobody can write: the longer way tells
        return _binary_packet(plain, binary, namespace, array, ack_id)
    return (_text_frame(plain, namespace, text, ack_id),)


def _binary_packet(
    plain: PacketType, binary: PacketType, namespace: str, args: list[Any], ack_id: int | None
) -> Frames:
    attachments: list[bytes] = []

    def placeholder(value: object) -> dict[str, bool | int]:
        # The serialiser calls this for what it cannot write, in the order of the text.
        if not isinstance(value, bytes | bytearray | memoryview):
            raise TypeError(type(value).__name__)
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}

    try:
        text = orjson.dumps(args, placeholder).decode()
    except TypeError as error:
        raise NotSerialisable(str(error)) from None
    if not attachments:
        return (_text_frame(plain, namespace, text, ack_id),)
    if len(attachments) > DEFAULT_MAX_ATTACHMENTS:
        raise TooManyAttachmentsToSend(len(attachments), DEFAULT_MAX_ATTACHMENTS)
    return (_text_frame(binary, namespace, text, ack_id, f"{len(attachments)}-"), *attachments)


def _text_frame(
    packet_type: PacketType, namespace: str, json: str, ack_id: int | None = None, count: str = ""
) -> str:
    prefix = "" if namespace == ROOT else f"{namespace},"
    return f"{_OPENINGS[packet_type]}{count}{prefix}{'' if ack_id is None else ack_id}{json}"


def _to_json(body: object) -> str:
    try:
        return orjson.dumps(body).decode()
    except TypeError as error:
        raise NotSerialisable(str(error)) from None
