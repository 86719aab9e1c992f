"""Socket.IO v5, "Packet encoding", as we write it, and binary data at any depth."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol import engineio, socketio
from realtime.protocol.errors import (
    BadPlaceholder,
    NotSerialisable,
    TooManyAttachmentsToSend,
)
from realtime.protocol.socketio import Header, PacketType, Reassembly

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = texts.filter(lambda key: key != "_placeholder")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=10,
    )


values = nested(scalars | st.binary(max_size=20))
namespaces = st.just("/") | texts.filter(lambda text: "," not in text).map("/{}".format)
names = texts.filter(lambda name: name not in socketio.RESERVED_EVENTS) | st.integers(0, 9)
events = st.builds(lambda name, rest: [name, *rest], names, st.lists(values, max_size=3))
ack_ids = st.integers(0, socketio.MAX_ACK_ID)


def read(frames: socketio.Frames) -> tuple[Header, Any]:
    """Decode one encoded message the way a connection does it."""
    _, text = engineio.decode(frames[0])
    assert isinstance(text, str)
    header = socketio.decode_header(text)
    data = socketio.decode_data(header, text)
    if not header.attachments:
        return header, data
    reassembly = Reassembly(header, data)
    complete = [reassembly.receive(frame) for frame in frames[1:] if isinstance(frame, bytes)]
    assert complete == [False] * (header.attachments - 1) + [True]
    return header, reassembly.finish()


# Placeholders and attachments


def test_bytes_at_any_depth_become_attachments_in_the_order_of_the_text() -> None:
    frames = socketio.encode_event("/", ["a", b"\x01", {"x": [b"\x02"], "y": bytearray(b"\x03")}])
    assert frames[1:] == (b"\x01", b"\x02", b"\x03")
    assert frames[0] == (
        '453-["a",{"_placeholder":true,"num":0},'
        '{"x":[{"_placeholder":true,"num":1}],"y":{"_placeholder":true,"num":2}}]'
    )


def test_a_memory_view_and_empty_bytes_are_attachments() -> None:
    frames = socketio.encode_ack("/", 0, [memoryview(b"abc")[1:], b""])
    assert frames[1:] == (b"bc", b"")
    assert str(frames[0]).startswith("462-0[")


def test_an_ack_with_bytes_is_a_binary_ack() -> None:
    frames = socketio.encode_ack("/custom", 3, [b"\x01"])
    assert frames == ('461-/custom,3[{"_placeholder":true,"num":0}]', b"\x01")


def test_more_attachments_than_a_client_takes_are_not_sent() -> None:
    assert len(socketio.encode_event("/", ["a", *[b"x"] * 10])) == 11
    with pytest.raises(TooManyAttachmentsToSend):
        socketio.encode_event("/", ["a", *[b"x"] * 11])


def assemble(json_text: str, *attachments: bytes) -> list[Any] | None:
    text = f"5{len(attachments)}-{json_text}"
    header = socketio.decode_header(text)
    reassembly = Reassembly(header, socketio.decode_data(header, text))
    for attachment in attachments:
        reassembly.receive(attachment)
    return reassembly.finish()


def test_one_attachment_may_stand_in_several_places() -> None:
    placeholder = '{"_placeholder":true,"num":0}'
    assert assemble(f'["a",{placeholder},[{placeholder}]]', b"x") == ["a", b"x", [b"x"]]


def test_an_attachment_may_stand_nowhere() -> None:
    assert assemble('["a",1]', b"x") == ["a", 1]


@pytest.mark.parametrize("mark", ["false", "1", '"true"', "null"])
def test_only_a_true_placeholder_is_one(mark: str) -> None:
    args = assemble(f'["a",{{"_placeholder":{mark},"num":0}}]', b"x")
    assert args is not None
    assert args[1] == {"_placeholder": json.loads(mark), "num": 0}


@pytest.mark.parametrize("num", ["1", "-1", "true", "false", "0.0", '"0"', "null", "[0]", "1e0"])
def test_a_placeholder_must_point_at_an_attachment(num: str) -> None:
    with pytest.raises(BadPlaceholder):
        assemble(f'["a",[{{"_placeholder":true,"num":{num}}}]]', b"x")


def test_a_placeholder_without_a_number_is_refused() -> None:
    with pytest.raises(BadPlaceholder):
        assemble('["a",{"_placeholder":true}]', b"x")


def test_placeholders_are_found_deeper_than_the_interpreter_recurses() -> None:
    depth = 1000
    args = assemble(
        '["a",' + "[" * depth + '{"_placeholder":true,"num":0}' + "]" * depth + "]", b"x"
    )
    assert args is not None
    value = args[1]
    for _ in range(depth):
        (value,) = value
    assert value == b"x"


def test_a_packet_made_without_data_keeps_no_attachment() -> None:
    reassembly = Reassembly(socketio.decode_header('52-["a"]'), None)
    assert not reassembly.receive(b"x")
    assert reassembly.receive(b"y")
    assert reassembly.finish() is None


# Writing


def test_the_connect_reply_holds_the_socket_id() -> None:
    assert socketio.encode_connect("/", "abc") == ('40{"sid":"abc"}',)
    assert socketio.encode_connect("/custom", "abc") == ('40/custom,{"sid":"abc"}',)


def test_the_connect_reply_holds_the_private_id_only_when_there_is_one() -> None:
    assert socketio.encode_connect("/", "abc", "def") == ('40{"sid":"abc","pid":"def"}',)


def test_a_refusal_is_always_an_object_and_leaves_out_missing_data() -> None:
    assert socketio.encode_connect_error("/", "no") == ('44{"message":"no"}',)
    assert socketio.encode_connect_error("/custom", "no", {"code": 1}) == (
        '44/custom,{"message":"no","data":{"code":1}}',
    )


def test_a_disconnect_names_its_namespace_with_a_comma() -> None:
    assert socketio.encode_disconnect("/") == ("41",)
    assert socketio.encode_disconnect("/custom") == ("41/custom,",)


def test_an_event_may_ask_for_an_acknowledgement() -> None:
    assert socketio.encode_event("/", ["a", {"é": [1]}]) == ('42["a",{"é":[1]}]',)
    assert socketio.encode_event("/", ("a",), 0) == ('420["a"]',)
    assert socketio.encode_event("/custom", ["a"], 12) == ('42/custom,12["a"]',)


def test_an_event_may_be_made_of_json_that_exists_already() -> None:
    assert socketio.encode_event_json("/", '["a",1]') == ('42["a",1]',)
    assert socketio.encode_event_json("/custom", '["a",1]', 3) == ('42/custom,3["a",1]',)


def test_an_acknowledgement_may_be_empty() -> None:
    assert socketio.encode_ack("/", 0, []) == ("430[]",)


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [object(), {1: 2}, "\ud800", 2**64, {1, 2}, {"a"}, deep(1000)])
def test_what_is_neither_json_nor_bytes_is_not_sent(value: object) -> None:
    with pytest.raises(NotSerialisable):
        socketio.encode_event("/", ["a", value])
    with pytest.raises(NotSerialisable):
        socketio.encode_connect_error("/", "no", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_sent_as_null_as_javascript_does(value: float) -> None:
    assert socketio.encode_event("/", ["a", value]) == ('42["a",null]',)


# Round trips


@given(namespaces, events, st.none() | ack_ids)
def test_every_event_survives_its_frames(
    namespace: str, args: list[Any], ack_id: int | None
) -> None:
    try:
        frames = socketio.encode_event(namespace, args, ack_id)
    except TooManyAttachmentsToSend:
        return
    header, data = read(frames)
    assert data == args
    assert (header.namespace, header.ack_id, header.attachments) == (
        namespace,
        ack_id,
        len(frames) - 1,
    )
    assert header.type is (PacketType.BINARY_EVENT if frames[1:] else PacketType.EVENT)


@given(namespaces, ack_ids, st.lists(values, max_size=3))
def test_every_ack_survives_its_frames(namespace: str, ack_id: int, args: list[Any]) -> None:
    header, data = read(socketio.encode_ack(namespace, ack_id, args))
    assert (header.namespace, header.ack_id, data) == (namespace, ack_id, args)
