"""A hostile or broken peer: each fault closes with its reason, keeps nothing, raises nothing."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol import (
    Closed,
    CloseReason,
    Connection,
    ConnectReceived,
    EventReceived,
    Limits,
    ProtocolError,
    engineio,
    errors,
)
from tests.realtime.protocol.faults_bench import PLACEHOLDER, Opener, closed_by, kept

FAULTS = [
    # Engine.IO packets
    ("", CloseReason.PARSE_ERROR, errors.EmptyPacket),
    ("7", CloseReason.PARSE_ERROR, errors.UnknownPacketType),
    ("abc", CloseReason.PARSE_ERROR, errors.UnknownPacketType),
    ("\uff14", CloseReason.PARSE_ERROR, errors.UnknownPacketType),
    ("b!", CloseReason.PARSE_ERROR, errors.BadBase64),
    ("4\ud800", CloseReason.PARSE_ERROR, errors.InvalidText),
    ("40/\ud800,", CloseReason.PARSE_ERROR, errors.InvalidText),
    # The transport
    ("2", CloseReason.TRANSPORT_ERROR, errors.WrongDirection),
    ("2probe", CloseReason.TRANSPORT_ERROR, errors.WrongDirection),
    # Socket.IO packets
    ("4", CloseReason.FORCED_CLOSE, errors.EmptyMessage),
    ("47", CloseReason.FORCED_CLOSE, errors.UnknownMessageType),
    ("4abc", CloseReason.FORCED_CLOSE, errors.UnknownMessageType),
    ("4\u00b2", CloseReason.FORCED_CLOSE, errors.UnknownMessageType),
    ("40[]", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("40null", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ('40"a"', CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("40123", CloseReason.FORCED_CLOSE, errors.BadAckId),
    ("40/custom,[]", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("41{}", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("42", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("42{}", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("42[]", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("42[true]", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ("42abc", CloseReason.FORCED_CLOSE, errors.BadJson),
    ('42["\\ud800"]', CloseReason.FORCED_CLOSE, errors.BadJson),
    ('42["a",NaN]', CloseReason.FORCED_CLOSE, errors.BadJson),
    ('42["connect"]', CloseReason.FORCED_CLOSE, errors.ReservedEvent),
    ('4299999999999999999["a"]', CloseReason.FORCED_CLOSE, errors.BadAckId),
    ("43[]", CloseReason.FORCED_CLOSE, errors.BadAckId),
    ("430{}", CloseReason.FORCED_CLOSE, errors.BadPayload),
    ('45["a"]', CloseReason.FORCED_CLOSE, errors.BadAttachmentCount),
    ('450-["a"]', CloseReason.FORCED_CLOSE, errors.BadAttachmentCount),
    ('4511-["a"]', CloseReason.FORCED_CLOSE, errors.TooManyAttachments),
    (b"", CloseReason.FORCED_CLOSE, errors.UnexpectedBinary),
    (b"abc", CloseReason.FORCED_CLOSE, errors.UnexpectedBinary),
    ("bAQI=", CloseReason.FORCED_CLOSE, errors.UnexpectedBinary),
    # The state of namespaces
    ("40", CloseReason.FORCED_SERVER_CLOSE, errors.ConnectedTwice),
    ("44{}", CloseReason.FORCED_SERVER_CLOSE, errors.ConnectErrorFromClient),
    ('44/custom,{"message":"no"}', CloseReason.FORCED_SERVER_CLOSE, errors.ConnectErrorFromClient),
    ('42/custom,["a"]', CloseReason.FORCED_SERVER_CLOSE, errors.NotJoined),
    ('42/nowhere,["a"]', CloseReason.FORCED_SERVER_CLOSE, errors.NotJoined),
    ("41/custom,", CloseReason.FORCED_SERVER_CLOSE, errors.NotJoined),
    ("43/custom,0[]", CloseReason.FORCED_SERVER_CLOSE, errors.NotJoined),
    (f'451-/custom,["a",{PLACEHOLDER}]', CloseReason.FORCED_SERVER_CLOSE, errors.NotJoined),
]


@pytest.mark.parametrize(("frame", "reason", "fault"), FAULTS)
def test_a_fault_closes_with_its_reason_and_keeps_nothing(
    open_connection: Opener,
    frame: engineio.Frame,
    reason: CloseReason,
    fault: type[ProtocolError],
) -> None:
    connection = open_connection(joined=("/", "/other"))
    (closed,) = connection.receive_frame(frame, now=1.0)
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.fault) == (reason, fault)
    assert closed.namespaces == ("/", "/other")
    assert closed.detail
    assert closed.detail.isascii()
    assert connection.close_reason is reason
    assert kept(connection) == (None, set(), {})
    assert connection.frames_to_send() == []


def test_a_meter_may_end_the_connection(open_connection: Opener) -> None:
    def meter(*_args: object) -> int:
        raise errors.TooManyPackets

    connection = open_connection(joined=(), meter=meter)
    (closed,) = connection.receive_frame("3", now=0.0)
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.fault) == ("transport error", errors.TooManyPackets)


def test_the_faults_above_are_all_there_are_but_those_tested_below() -> None:
    def leaves(fault: type[ProtocolError]) -> set[type[ProtocolError]]:
        below = fault.__subclasses__()
        return {fault} if not below else set().union(*map(leaves, below))

    below_here = {
        errors.PayloadTooLarge,
        errors.UnexpectedText,
        errors.BadPlaceholder,
        errors.TooManyNamespaces,
        errors.TooManyPackets,
    }
    assert leaves(ProtocolError) == {fault for _, _, fault in FAULTS} | below_here


@pytest.mark.parametrize("frame", ["0", '0{"sid":"a"}', "5", "6", "6x"])
def test_open_upgrade_and_noop_from_a_client_are_ignored(
    connection: Connection, frame: str
) -> None:
    assert connection.receive_frame(frame, now=1.0) == ()
    assert not connection.closed
    assert connection.frames_to_send() == []


# Size


@pytest.mark.parametrize("frame", ["4" * 101, "4" + "é" * 50, b"x" * 101, "b" + "A" * 100])
def test_a_frame_over_the_limit_is_told_apart(
    open_connection: Opener, frame: engineio.Frame
) -> None:
    connection = open_connection(limits=Limits(max_payload=100))
    (closed,) = connection.receive_frame(frame, now=1.0)
    assert isinstance(closed, Closed)
    assert closed.fault is errors.PayloadTooLarge
    assert closed.reason is CloseReason.TRANSPORT_ERROR
    assert closed.detail == "frame of 101 bytes, at most 100 are allowed"


def test_a_frame_at_the_limit_is_taken(open_connection: Opener) -> None:
    frame = '42["' + "é" * 47 + '"]'
    connection = open_connection(limits=Limits(max_payload=100))
    assert engineio.frame_size(frame) == 100
    assert connection.receive_frame(frame, now=1.0) == (EventReceived("/", ["é" * 47], None),)


# Attachments


@pytest.mark.parametrize("text", ['42["b"]', "40/custom,", "41", "4", f'451-["b",{PLACEHOLDER}]'])
def test_text_while_attachments_are_missing_is_a_fault(connection: Connection, text: str) -> None:
    fault = closed_by(connection, f'452-["a",{PLACEHOLDER}]', b"x", text)
    assert fault is errors.UnexpectedText


def test_a_placeholder_that_points_nowhere_is_a_fault(connection: Connection) -> None:
    frame = '451-["a",{"_placeholder":true,"num":1}]'
    assert closed_by(connection, frame, b"x") is errors.BadPlaceholder


def test_one_attachment_too_many_is_a_fault(connection: Connection) -> None:
    frames = (f'451-["a",{PLACEHOLDER}]', b"x", b"y")
    assert closed_by(connection, *frames) is errors.UnexpectedBinary


def test_partial_state_is_dropped_on_close(connection: Connection) -> None:
    connection.receive_frame(f'452-["a",{PLACEHOLDER}]', now=1.0)
    connection.receive_frame(b"x" * 1000, now=1.0)
    connection.close(CloseReason.TRANSPORT_CLOSE)
    assert kept(connection) == (None, set(), {})


# Namespaces


def test_a_packet_before_the_first_connect_is_a_fault(open_connection: Opener) -> None:
    for frame in ('42["a"]', "41", "430[]", f'451-["a",{PLACEHOLDER}]'):
        assert closed_by(open_connection(joined=()), frame) is errors.NotJoined


def test_a_packet_while_the_connect_is_pending_is_a_fault(open_connection: Opener) -> None:
    for frame in ('42["a"]', "41", "430[]"):
        assert closed_by(open_connection(joined=()), "40", frame) is errors.NotJoined


def test_a_second_connect_while_the_first_is_pending_is_a_fault(open_connection: Opener) -> None:
    assert closed_by(open_connection(joined=()), "40", "40") is errors.ConnectedTwice


def test_an_event_after_leaving_is_a_fault(connection: Connection) -> None:
    assert closed_by(connection, "41", '42["a"]') is errors.NotJoined


def test_a_refused_namespace_is_not_joined(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40", now=1.0)
    connection.refuse("/", "no")
    assert closed_by(connection, '42["a"]') is errors.NotJoined


def test_joined_and_pending_namespaces_are_bounded_together(open_connection: Opener) -> None:
    connection = open_connection(limits=Limits(max_namespaces=2))
    assert connection.receive_frame("40/custom,", now=1.0) == (ConnectReceived("/custom", None),)
    assert connection.receive_frame("40/nowhere,", now=1.0) == ()
    (closed,) = connection.receive_frame("40/other,", now=1.0)
    assert isinstance(closed, Closed)
    assert closed.fault is errors.TooManyNamespaces
    assert closed.reason is CloseReason.FORCED_SERVER_CLOSE
    assert closed.namespaces == ("/",)


def test_left_and_refused_namespaces_make_room(open_connection: Opener) -> None:
    connection = open_connection(limits=Limits(max_namespaces=1))
    connection.leave("/")
    connection.receive_frame("40/custom,", now=1.0)
    connection.refuse("/custom", "no")
    assert connection.receive_frame("40/other,", now=1.0) == (ConnectReceived("/other", None),)


# Polling bodies


def test_a_bad_packet_in_a_body_drops_what_follows_it(connection: Connection) -> None:
    first, closed = connection.receive_payload(b'42["a"]\x1e\x1e42["b"]', now=1.0)
    assert first == EventReceived("/", ["a"], None)
    assert isinstance(closed, Closed)
    assert closed.fault is errors.EmptyPacket


@pytest.mark.parametrize(
    ("body", "fault"),
    [(b"", errors.EmptyPacket), (b"\x1e", errors.EmptyPacket), (b"4\xff", errors.InvalidText)],
)
def test_an_unreadable_body_is_a_parse_error(
    connection: Connection, body: bytes, fault: type[ProtocolError]
) -> None:
    (closed,) = connection.receive_payload(body, now=1.0)
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.fault) == (CloseReason.PARSE_ERROR, fault)


# Anything at all


frames = st.one_of(
    st.sampled_from([frame for frame, _, _ in FAULTS]),
    st.sampled_from(
        ["40", "40/custom,", "41", "41/custom,", '42["a"]', '4212["a",{}]', "430[]", "3", "6"]
    ),
    st.just(f'452-["a",{PLACEHOLDER}]'),
    st.binary(max_size=20),
    st.text(alphabet='0123456-/,[]{}":abc\u00b2\ud800', max_size=20).map("4{}".format),
    st.text(max_size=20),
    st.text(max_size=2),
)


def make_connection() -> Connection:
    return Connection(sid="s", limits=Limits(), namespaces={"/", "/custom"}, now=0.0)


@given(st.lists(frames, max_size=12), st.booleans())
def test_no_frame_raises_and_no_state_outlives_a_fault(
    sent: list[engineio.Frame], accepts: bool
) -> None:
    connection = make_connection()
    for number, frame in enumerate(sent):
        for event in connection.receive_frame(frame, now=float(number)):
            if isinstance(event, ConnectReceived) and accepts:
                connection.accept(event.namespace, "id")
            elif isinstance(event, ConnectReceived):
                connection.refuse(event.namespace, "no")
            elif isinstance(event, Closed):
                assert connection.closed
    if connection.closed:
        assert kept(connection) == (None, set(), {})
        assert connection.receive_frame("40", now=99.0) == ()
    assert all(engineio.frame_size(frame) > 0 for frame in connection.frames_to_send())


def as_body(sent: list[engineio.Frame]) -> str:
    """Join frames without judging them, as a careless peer would."""
    return engineio.SEPARATOR.join(
        engineio.binary_as_text(frame) if isinstance(frame, bytes) else frame for frame in sent
    )


@given(st.binary(max_size=200) | st.lists(frames, max_size=6).map(as_body))
def test_no_polling_body_raises_and_only_the_last_event_closes(body: engineio.Frame) -> None:
    connection = make_connection()
    events = list(connection.receive_payload(body, now=0.0))
    assert not any(isinstance(event, Closed) for event in events[:-1])
    assert connection.closed == bool(events and isinstance(events[-1], Closed))


def test_a_connection_is_freed_as_soon_as_it_is_dropped() -> None:
    gc.disable()
    try:
        connection = make_connection()
        connection.receive_frame("4", now=0.0)
        reference = weakref.ref(connection)
        del connection
        assert reference() is None
    finally:
        gc.enable()
