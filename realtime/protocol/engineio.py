"""Engine.IO v4 packets: one WebSocket frame each, or many in the body of a polling request.

Sections "Packet encoding" and "Handshake" of the protocol. No state: the order of packets is
judged by `realtime.protocol.connection`.
"""

from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, TypeAlias

import orjson

from realtime.protocol.errors import (
    BadBase64,
    EmptyPacket,
    EmptyPayload,
    InvalidText,
    UnknownPacketType,
)
from realtime.protocol.limits import Limits

__all__ = [
    "CLOSE",
    "NOOP",
    "PING",
    "PONG",
    "PROBE_PING",
    "PROBE_PONG",
    "SEPARATOR",
    "UPGRADE",
    "Frame",
    "Packet",
    "PacketType",
    "binary_as_text",
    "decode",
    "decode_payload",
    "encode",
    "encode_payload",
    "frame_size",
    "handshake",
    "split_payload",
]

Frame: TypeAlias = str | bytes

CLOSE: Final = "1"
PING: Final = "2"
PONG: Final = "3"
UPGRADE: Final = "5"
NOOP: Final = "6"
PROBE_PING: Final = "2probe"
PROBE_PONG: Final = "3probe"
SEPARATOR: Final = "\x1e"
_BINARY_MARK: Final = "b"


class PacketType(Enum):
    """The packet types; values are the characters on the wire.

    Not a `str` enumeration: a pong would then equal the ACK of Socket.IO, which is also `3`.
    """

    # Members are singletons; the hash of `Enum` is a Python call, felt on each packet.
    __hash__ = object.__hash__

    OPEN = "0"
    CLOSE = "1"
    PING = "2"
    PONG = "3"
    MESSAGE = "4"
    UPGRADE = "5"
    NOOP = "6"


# One packet, type and data; only a MESSAGE may hold bytes.
Packet: TypeAlias = tuple[PacketType, Frame]

_TYPES: Final = {packet_type.value: packet_type for packet_type in PacketType}
_MESSAGE: Final = PacketType.MESSAGE


def frame_size(frame: Frame) -> int:
    """Return the bytes of `frame` on the wire.

    Raises `InvalidText` for text that UTF-8 cannot carry.
    """
    if isinstance(frame, bytes) or frame.isascii():
        return len(frame)
    try:
        return len(frame.encode())
    except UnicodeEncodeError:
        raise InvalidText from None


def encode(packet_type: PacketType, data: Frame = "") -> Frame:
    """Return `data` as one WebSocket frame; bytes are always a message and have no type on it."""
    if isinstance(data, bytes):
        return data
    return packet_type.value + data


def decode(frame: Frame) -> Packet:
    """Read one WebSocket frame, or one segment of a polling body.

    Raises `EmptyPacket`, `UnknownPacketType` or `BadBase64`.
    """
    if isinstance(frame, bytes):
        return _MESSAGE, frame
    if not frame:
        raise EmptyPacket
    packet_type = _TYPES.get(frame[0])
    if packet_type is not None:
        return packet_type, frame[1:]
    if frame[0] == _BINARY_MARK:
        return _MESSAGE, _text_as_binary(frame)
    raise UnknownPacketType(frame[0])


def binary_as_text(data: bytes) -> str:
    """Return a binary message in the form for polling, and for WebSocket clients with `b64=1`."""
    return _BINARY_MARK + b64encode(data).decode("ascii")


def _text_as_binary(frame: str) -> bytes:
    # The Node server skips what is not base64. Nobody sends that by accident: we refuse it.
    try:
        return a2b_base64(frame[1:], strict_mode=True)
    except (Base64Error, ValueError):
        raise BadBase64 from None


def encode_payload(frames: Iterable[Frame]) -> bytes:
    """Join frames into the body of an answer to a poll.

    Raises `EmptyPayload` without frames: send `NOOP` instead.
    """
    body = SEPARATOR.join(
        binary_as_text(frame) if isinstance(frame, bytes) else frame for frame in frames
    )
    if not body:
        raise EmptyPayload
    return body.encode()


def split_payload(body: Frame) -> Iterator[str]:
    """Yield the segments of a polling body one by one; an empty body is one empty segment.

    Raises `InvalidText` at the first segment that is no UTF-8, after those before it.
    """
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    separator = SEPARATOR.encode()
    start, end = 0, raw.find(separator)
    while end >= 0:
        yield _segment(raw[start:end])
        start, end = end + 1, raw.find(separator, end + 1)
    yield _segment(raw[start:])


def _segment(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidText from None


def decode_payload(body: Frame) -> Iterator[Packet]:
    """Yield the packets of a polling body one by one.

    Raises what `decode` raises, or `InvalidText`, at the first bad packet: those before it were
    yielded, those after it are lost.
    """
    # Not `map`: that would go on behind the bad packet when asked again.
    for segment in split_payload(body):
        yield decode(segment)


def handshake(sid: str, upgrades: Sequence[str], limits: Limits) -> str:
    """Return the open packet; `upgrades` are the transports the client may still probe."""
    opening = {
        "sid": sid,
        "upgrades": list(upgrades),
        "pingInterval": limits.ping_interval_ms,
        "pingTimeout": limits.ping_timeout_ms,
        "maxPayload": limits.max_payload,
    }
    return PacketType.OPEN.value + orjson.dumps(opening).decode()
