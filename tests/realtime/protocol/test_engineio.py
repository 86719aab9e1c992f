"""Engine.IO v4: "Packet encoding" for WebSocket and HTTP long-polling, and "Handshake"."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol import Limits, engineio, socketio
from realtime.protocol.engineio import PacketType
from realtime.protocol.errors import (
    BadBase64,
    EmptyPacket,
    EmptyPayload,
    InvalidText,
    PacketError,
    UnknownPacketType,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
# The separator cannot stand in a packet; JSON escapes it.
unseparated = texts.filter(lambda text: engineio.SEPARATOR not in text)
packets = st.one_of(
    st.tuples(st.sampled_from(PacketType), unseparated),
    st.tuples(st.just(PacketType.MESSAGE), st.binary()),
)


# Packet encoding, WebSocket


@pytest.mark.parametrize(
    ("character", "packet_type"),
    [
        ("0", PacketType.OPEN),
        ("1", PacketType.CLOSE),
        ("2", PacketType.PING),
        ("3", PacketType.PONG),
        ("4", PacketType.MESSAGE),
        ("5", PacketType.UPGRADE),
        ("6", PacketType.NOOP),
    ],
)
def test_a_text_frame_is_its_type_and_its_data(character: str, packet_type: PacketType) -> None:
    assert engineio.decode(character + "hä") == (packet_type, "hä")
    assert engineio.encode(packet_type, "hä") == character + "hä"


def test_the_constants_are_packets_of_their_names() -> None:
    assert engineio.decode(engineio.CLOSE) == (PacketType.CLOSE, "")
    assert engineio.decode(engineio.PING) == (PacketType.PING, "")
    assert engineio.decode(engineio.PONG) == (PacketType.PONG, "")
    assert engineio.decode(engineio.PROBE_PING) == (PacketType.PING, "probe")
    assert engineio.decode(engineio.PROBE_PONG) == (PacketType.PONG, "probe")
    assert engineio.decode(engineio.UPGRADE) == (PacketType.UPGRADE, "")
    assert engineio.decode(engineio.NOOP) == (PacketType.NOOP, "")


def test_an_empty_message_is_legal() -> None:
    assert engineio.decode("4") == (PacketType.MESSAGE, "")


def test_a_binary_frame_is_a_message_without_a_type_byte() -> None:
    assert engineio.decode(b"\x01\x02") == (PacketType.MESSAGE, b"\x01\x02")
    assert engineio.encode(PacketType.MESSAGE, b"\x01\x02") == b"\x01\x02"


def test_an_empty_binary_frame_is_a_message() -> None:
    assert engineio.decode(b"") == (PacketType.MESSAGE, b"")


def test_text_that_begins_with_b_is_a_binary_message() -> None:
    assert engineio.decode("bAQIDBA==") == (PacketType.MESSAGE, b"\x01\x02\x03\x04")
    assert engineio.binary_as_text(b"\x01\x02\x03\x04") == "bAQIDBA=="


@pytest.mark.parametrize("text", ["bAQIDBA", "bAQIDBA==x", "bA", "b====", "bAQ ID", "b\u00e9"])
def test_text_after_b_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(BadBase64):
        engineio.decode(text)


def test_an_empty_text_frame_is_refused() -> None:
    with pytest.raises(EmptyPacket):
        engineio.decode("")


@pytest.mark.parametrize("text", ["7", "9abc", "a", "B", " 2", "\u00b2", "\uff12", "\x00"])
def test_an_unknown_packet_type_is_refused(text: str) -> None:
    with pytest.raises(UnknownPacketType):
        engineio.decode(text)


@given(packets)
def test_every_packet_survives_a_frame(packet: engineio.Packet) -> None:
    assert engineio.decode(engineio.encode(*packet)) == packet


@given(st.text() | st.binary())
def test_decoding_any_frame_gives_a_packet_or_a_packet_error(frame: engineio.Frame) -> None:
    try:
        packet_type, data = engineio.decode(frame)
    except PacketError:
        return
    assert packet_type is PacketType.MESSAGE or isinstance(data, str)


def test_packet_types_of_the_two_protocols_never_compare_equal() -> None:
    assert not {*PacketType} & {*socketio.PacketType}


# Size of a frame


@pytest.mark.parametrize(("frame", "size"), [("", 0), ("4é", 3), ("4\U0001f600", 5), (b"\xff", 1)])
def test_a_frame_is_measured_in_bytes_on_the_wire(frame: engineio.Frame, size: int) -> None:
    assert engineio.frame_size(frame) == size


def test_a_lone_surrogate_cannot_be_measured() -> None:
    with pytest.raises(InvalidText):
        engineio.frame_size("4\ud800")


# Packet encoding, HTTP long-polling


def test_packets_of_a_body_are_joined_with_the_record_separator() -> None:
    body = engineio.encode_payload(["4hello", "2", "4world"])
    assert body == b"4hello\x1e2\x1e4world"


def test_binary_in_a_body_is_base64_after_b() -> None:
    assert engineio.encode_payload(["4hello", b"\x01\x02\x03\x04"]) == b"4hello\x1ebAQIDBA=="


def test_a_body_without_packets_is_refused() -> None:
    with pytest.raises(EmptyPayload):
        engineio.encode_payload([])


@given(st.lists(packets, min_size=1))
def test_every_list_of_packets_survives_a_body(wanted: list[engineio.Packet]) -> None:
    body = engineio.encode_payload(engineio.encode(*packet) for packet in wanted)
    assert list(engineio.decode_payload(body)) == wanted
    assert list(engineio.decode_payload(body.decode())) == wanted


def test_a_body_may_hold_many_packets() -> None:
    assert len(list(engineio.decode_payload(b"\x1e".join([b"4x"] * 1000)))) == 1000


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"4a\x1e4b\x1e\x1e4c", EmptyPacket),
        (b"4a\x1e4b\x1e", EmptyPacket),
        (b"4a\x1e4b\x1eabc\x1e4c", UnknownPacketType),
        (b"4a\x1e4b\x1eb!\x1e4c", BadBase64),
        (b"4a\x1e4b\x1e4\xff\x1e4c", InvalidText),
        (b"4a\x1e4b\x1e4\xed\xa0\x80\x1e4c", InvalidText),
        ("4a\x1e4b\x1e4\ud800\x1e4c", InvalidText),
    ],
)
def test_reading_a_body_stops_at_the_first_bad_packet_after_those_before_it(
    body: engineio.Frame, fault: type[PacketError]
) -> None:
    packets_read = engineio.decode_payload(body)
    assert next(packets_read) == (PacketType.MESSAGE, "a")
    assert next(packets_read) == (PacketType.MESSAGE, "b")
    with pytest.raises(fault):
        next(packets_read)
    assert list(packets_read) == []


def test_an_empty_body_is_refused() -> None:
    with pytest.raises(EmptyPacket):
        next(engineio.decode_payload(b""))


@given(st.binary(max_size=5000))
def test_binary_survives_the_text_form_of_b64(data: bytes) -> None:
    assert engineio.binary_as_text(data) == "b" + b64encode(data).decode()
    assert engineio.decode(engineio.binary_as_text(data)) == (PacketType.MESSAGE, data)


# Handshake


def test_the_open_packet_announces_what_the_limits_say() -> None:
    limits = Limits(ping_interval_ms=300, ping_timeout_ms=200, max_payload=1234)
    packet_type, data = engineio.decode(engineio.handshake("abc", ["websocket"], limits))
    assert packet_type is PacketType.OPEN
    assert json.loads(data) == {
        "sid": "abc",
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1234,
    }


def test_the_default_limits_are_those_of_the_specification() -> None:
    limits = Limits()
    assert (limits.ping_interval_ms, limits.ping_timeout_ms) == (25_000, 20_000)
    assert limits.max_payload == 1_000_000
    assert (limits.connect_timeout_ms, limits.upgrade_timeout_ms) == (45_000, 10_000)
    assert (limits.max_attachments, limits.max_namespaces) == (10, None)
