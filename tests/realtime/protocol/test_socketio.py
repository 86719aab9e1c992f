"""Socket.IO v5, "Packet encoding", as we read it: header, payloads, reserved names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol import socketio
from realtime.protocol.errors import (
    BadAckId,
    BadAttachmentCount,
    BadEventName,
    BadJson,
    BadPayload,
    DecoderError,
    EmptyMessage,
    ReservedEvent,
    ReservedEventName,
    TooManyAttachments,
    UnknownMessageType,
)
from realtime.protocol.socketio import PacketType


def parse(text: str) -> Any:
    return socketio.decode_data(socketio.decode_header(text), text)


# Packet encoding: the header


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("0", (PacketType.CONNECT, 0, "/", None, 1)),
        ("0{}", (PacketType.CONNECT, 0, "/", None, 1)),
        ("0/custom", (PacketType.CONNECT, 0, "/custom", None, 8)),
        ("0/custom,", (PacketType.CONNECT, 0, "/custom", None, 9)),
        ("0/,", (PacketType.CONNECT, 0, "/", None, 3)),
        ("0/custom?token=a,{}", (PacketType.CONNECT, 0, "/custom?token=a", None, 17)),
        ("1/custom,", (PacketType.DISCONNECT, 0, "/custom", None, 9)),
        ('2["a"]', (PacketType.EVENT, 0, "/", None, 1)),
        ('20["a"]', (PacketType.EVENT, 0, "/", 0, 2)),
        ('2/custom,12["a"]', (PacketType.EVENT, 0, "/custom", 12, 11)),
        ("313[]", (PacketType.ACK, 0, "/", 13, 3)),
        ("4{}", (PacketType.CONNECT_ERROR, 0, "/", None, 1)),
        ('51-["a"]', (PacketType.BINARY_EVENT, 1, "/", None, 3)),
        ('510-/custom,456["a"]', (PacketType.BINARY_EVENT, 10, "/custom", 456, 15)),
        ("61-/custom,456[]", (PacketType.BINARY_ACK, 1, "/custom", 456, 14)),
    ],
)
def test_a_header_is_type_attachments_namespace_and_ack_id(
    text: str, header: tuple[object, ...]
) -> None:
    assert socketio.decode_header(text) == header


def test_the_header_is_read_without_touching_the_json() -> None:
    assert socketio.decode_header("2[this is no JSON").json_at == 1


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(EmptyMessage):
        socketio.decode_header("")


@pytest.mark.parametrize("text", ["7", "abc", "\u00b2", "\uff12", "-1", " 2", "[]"])
def test_an_unknown_type_is_refused(text: str) -> None:
    with pytest.raises(UnknownMessageType):
        socketio.decode_header(text)


@pytest.mark.parametrize(
    "text",
    [
        '5["a"]',
        '5-["a"]',
        '50-["a"]',
        '5000-["a"]',
        '51["a"]',
        '5+1-["a"]',
        '5-1-["a"]',
        '51.0-["a"]',
        '51e0-["a"]',
        '5 1-["a"]',
        '51_0-["a"]',
        '5\u00b2-["a"]',
        '5\uff11-["a"]',
        "5",
        "51",
        "5" + "1" * 100_000 + '-["a"]',
        '5/custom,1-["a"]',
        "6[]",
    ],
)
def test_a_binary_packet_needs_its_count_in_ascii_digits_and_a_dash(text: str) -> None:
    with pytest.raises(BadAttachmentCount):
        socketio.decode_header(text)


def test_ten_attachments_are_allowed_and_eleven_are_not() -> None:
    assert socketio.decode_header('510-["a"]').attachments == 10
    with pytest.raises(TooManyAttachments) as caught:
        socketio.decode_header('511-["a"]')
    assert (caught.value.count, caught.value.limit) == (11, 10)


def test_the_allowed_number_of_attachments_is_an_argument() -> None:
    assert socketio.decode_header('511-["a"]', max_attachments=11).attachments == 11
    with pytest.raises(TooManyAttachments):
        socketio.decode_header('51-["a"]', max_attachments=0)


def test_the_largest_ack_id_is_the_largest_safe_integer() -> None:
    assert socketio.decode_header(f'2{2**53 - 1}["a"]').ack_id == 2**53 - 1
    with pytest.raises(BadAckId):
        socketio.decode_header(f'2{2**53}["a"]')
    with pytest.raises(BadAckId):
        socketio.decode_header("2" + "9" * 100_000 + '["a"]')


@pytest.mark.parametrize("text", ["3[]", "3/custom,[]", "61-[]"])
def test_an_ack_without_an_id_is_refused(text: str) -> None:
    with pytest.raises(BadAckId):
        socketio.decode_header(text)


@pytest.mark.parametrize("text", ["01", "012{}", "10", "1/custom,5", "40{}"])
def test_only_events_and_acks_carry_an_id(text: str) -> None:
    with pytest.raises(BadAckId):
        socketio.decode_header(text)


@pytest.mark.parametrize("digits", ["\u00b2", "\uff11", "1\u00b2", "\u0661", "-1", "1.5", "+1"])
def test_ids_are_ascii_digits_only(digits: str) -> None:
    with pytest.raises(BadJson):
        parse(f'2{digits}["a"]')


# Packet encoding: what each type carries


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("0", None),
        ("0{}", {}),
        ('0/custom,{"token":"a"}', {"token": "a"}),
        ("1", None),
        ("1/custom,", None),
        ('2["a",1,null]', ["a", 1, None]),
        ("2[1]", [1]),
        ("2[1.5]", [1.5]),
        ('2[""]', [""]),
        ('2 ["a"]', ["a"]),
        ("30[]", []),
        ("30[[1]]", [[1]]),
        ('4{"message":"no"}', {"message": "no"}),
        ('2["error"]', ["error"]),
        ('2["connection"]', ["connection"]),
        ('2["toString"]', ["toString"]),
    ],
)
def test_a_valid_payload_is_read(text: str, data: object) -> None:
    assert parse(text) == data


@pytest.mark.parametrize(
    "text",
    [
        "0[]",
        '0"a"',
        "0null",
        "0true",
        "1{}",
        "1[]",
        "1null",
        "2",
        "212",
        "2/custom,",
        "2{}",
        "2[]",
        '2"a"',
        "2null",
        "2[null]",
        "2[true]",
        "2[false]",
        "2[[]]",
        '2[{"a":1}]',
        "30",
        "30{}",
        '30"a"',
        "30null",
        "4",
        "4[]",
        "4null",
        "51-{}",
        "51-[]",
        '51-[{"_placeholder":true,"num":0}]',
        "51-",
        "61-0{}",
        "61-0",
    ],
)
def test_a_payload_of_the_wrong_shape_is_refused(text: str) -> None:
    with pytest.raises(BadPayload):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        '2["a"',
        '2["a"]]',
        '2["a"]x',
        "2[NaN]",
        '2["a",NaN]',
        '2["a",Infinity]',
        '2["a",-Infinity]',
        '2["a",1e999]',
        '2["a",01]',
        "2[\"a\",'b']",
        '2["a",]',
        '2["\\ud800"]',
        '2["\\udc00\\ud800"]',
        '2["\ud800"]',
        '2["a\n"]',
        '2\ufeff["a"]',
        '2["a"]\x00',
        "2abc",
        "2" + "[" * 100_000,
        "2" + "[" * 5_000 + "]" * 5_000,
        "0{",
        '0{"a":}',
    ],
)
def test_bad_json_is_refused(text: str) -> None:
    with pytest.raises(BadJson):
        parse(text)


def test_a_fault_never_repeats_the_content_of_the_payload() -> None:
    with pytest.raises(BadJson) as caught:
        parse('2["a secret",')
    assert "secret" not in str(caught.value)


# Reserved names, both ways


@pytest.mark.parametrize("name", sorted(socketio.RESERVED_EVENTS))
def test_a_reserved_name_is_refused_both_ways(name: str) -> None:
    for text in (f'2["{name}"]', f'2/custom,7["{name}",1]', f'51-["{name}"]'):
        with pytest.raises(ReservedEvent):
            parse(text)
    with pytest.raises(ReservedEventName):
        socketio.encode_event("/", [name])


def test_the_reserved_names_are_those_of_the_reference_parser() -> None:
    assert {
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    } == socketio.RESERVED_EVENTS


@pytest.mark.parametrize("args", [[], [None], [True], [["a"]], [{"a": 1}], [b"a"]])
def test_an_event_is_not_sent_without_a_name(args: list[object]) -> None:
    with pytest.raises(BadEventName):
        socketio.encode_event("/", args)


# Anything at all


@given(st.text(alphabet='01234567890-/,[]{}":atrue\u00b2\uff11 ') | st.text())
def test_reading_any_message_gives_data_or_a_decoder_error(text: str) -> None:
    try:
        header = socketio.decode_header(text)
        socketio.decode_data(header, text)
    except DecoderError:
        return
    assert header.type.value == text[0]
