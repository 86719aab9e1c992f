"""A well-behaved peer: opening, namespaces, events, acknowledgements, heartbeat, closing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from realtime.protocol import (
    AckReceived,
    Closed,
    CloseReason,
    Connection,
    ConnectReceived,
    DisconnectReceived,
    EventReceived,
    Limits,
    PongReceived,
    UnknownAck,
    engineio,
    socketio,
)
from realtime.protocol.errors import (
    NamespaceNotJoined,
    NoConnectPending,
    NotSerialisable,
    ReservedEventName,
)

Opener = Callable[..., Connection]


# Handshake


def test_the_open_packet_is_the_first_frame() -> None:
    connection = Connection(
        sid="engine-sid", limits=Limits(), namespaces=(), now=0.0, upgrades=["websocket"]
    )
    (frame,) = connection.frames_to_send()
    assert isinstance(frame, str)
    assert frame[0] == "0"
    assert json.loads(frame[1:])["sid"] == "engine-sid"
    assert json.loads(frame[1:])["upgrades"] == ["websocket"]


def test_no_upgrade_is_offered_unless_asked_for() -> None:
    connection = Connection(sid="engine-sid", limits=Limits(), namespaces=(), now=0.0)
    assert '"upgrades":[]' in str(connection.frames_to_send()[0])


# Connection to a namespace


def test_nothing_is_joined_implicitly(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    assert connection.joined == {}
    with pytest.raises(NamespaceNotJoined):
        connection.emit("/", ["a"])


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ("40", ConnectReceived("/", None)),
        ("40/,", ConnectReceived("/", None)),
        ("40{}", ConnectReceived("/", {})),
        ("40/custom", ConnectReceived("/custom", None)),
        ("40/custom,", ConnectReceived("/custom", None)),
        ('40/custom,{"token":"t"}', ConnectReceived("/custom", {"token": "t"})),
    ],
)
def test_a_connect_is_handed_over_with_its_auth(
    open_connection: Opener, frame: str, event: ConnectReceived
) -> None:
    connection = open_connection(joined=())
    assert connection.receive_frame(frame, now=1.0) == (event,)
    assert connection.frames_to_send() == []
    assert connection.joined == {}


def test_accepting_joins_and_replies_with_the_socket_id(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40/custom,", now=1.0)
    connection.accept("/custom", "abc")
    assert connection.frames_to_send() == ['40/custom,{"sid":"abc"}']
    assert connection.joined == {"/custom": "abc"}


def test_the_reply_may_carry_the_private_id_of_recovery(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40", now=1.0)
    connection.accept("/", "abc", "def")
    assert connection.frames_to_send() == ['40{"sid":"abc","pid":"def"}']


def test_no_event_can_be_queued_before_the_connect_reply(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40", now=1.0)
    with pytest.raises(NamespaceNotJoined):
        connection.emit("/", ["welcome"])
    connection.accept("/", "abc")
    connection.emit("/", ["welcome"])
    assert connection.frames_to_send() == ['40{"sid":"abc"}', '42["welcome"]']


def test_a_refusal_leaves_the_connection_open_for_another_try(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40", now=1.0)
    connection.refuse("/", "AUTH_REQUIRED", {"retry": False})
    assert connection.frames_to_send() == [
        '44{"message":"AUTH_REQUIRED","data":{"retry":false}}',
    ]
    assert connection.joined == {}
    assert connection.receive_frame("40", now=2.0) == (ConnectReceived("/", None),)


def test_a_refusal_that_cannot_be_written_leaves_the_connect_pending(
    open_connection: Opener,
) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40", now=1.0)
    with pytest.raises(NotSerialisable):
        connection.refuse("/", "no", object())
    connection.refuse("/", "no")
    assert connection.frames_to_send() == ['44{"message":"no"}']


@pytest.mark.parametrize("frame", ["40/nowhere", '40/nowhere,{"a":1}'])
def test_an_unknown_namespace_is_refused_without_asking_anybody(
    connection: Connection, frame: str
) -> None:
    assert connection.receive_frame(frame, now=1.0) == ()
    assert connection.frames_to_send() == ['44/nowhere,{"message":"Invalid namespace"}']
    assert not connection.closed
    assert connection.receive_frame('42["a"]', now=1.0) == (EventReceived("/", ["a"], None),)


def test_a_query_string_is_part_of_the_namespace(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40/custom?token=a,", now=1.0)
    assert connection.frames_to_send() == ['44/custom?token=a,{"message":"Invalid namespace"}']


def test_existing_namespaces_may_be_told_by_a_function(open_connection: Opener) -> None:
    connection = open_connection(joined=(), namespaces=lambda name: name.startswith("/room-"))
    assert connection.receive_frame("40/room-7,", now=1.0) == (ConnectReceived("/room-7", None),)
    assert connection.receive_frame("40", now=1.0) == ()
    assert connection.frames_to_send() == ['44{"message":"Invalid namespace"}']


def test_many_namespaces_share_one_connection(open_connection: Opener) -> None:
    connection = open_connection(joined=("/custom", "/"))
    assert connection.joined == {"/custom": "id-of-/custom", "/": "id-of-/"}
    assert connection.receive_frame('42/custom,["a"]', now=1.0) == (
        EventReceived("/custom", ["a"], None),
    )
    assert connection.receive_frame('42["a"]', now=1.0) == (EventReceived("/", ["a"], None),)


def test_only_a_pending_connect_can_be_answered(connection: Connection) -> None:
    for namespace in ("/", "/custom"):
        with pytest.raises(NoConnectPending):
            connection.accept(namespace, "abc")
        with pytest.raises(NoConnectPending):
            connection.refuse(namespace, "no")
    assert connection.joined == {"/": "id-of-/"}
    assert connection.frames_to_send() == []


# Disconnection from a namespace


def test_a_disconnect_leaves_that_namespace_only_and_gets_no_reply(
    open_connection: Opener,
) -> None:
    connection = open_connection(joined=("/", "/custom"))
    assert connection.receive_frame("41/custom,", now=1.0) == (DisconnectReceived("/custom"),)
    assert connection.joined == {"/": "id-of-/"}
    assert connection.frames_to_send() == []
    assert connection.receive_frame('42["a"]', now=1.0) == (EventReceived("/", ["a"], None),)


def test_the_connection_outlives_its_last_namespace_which_may_be_joined_again(
    connection: Connection,
) -> None:
    connection.receive_frame("41", now=1.0)
    assert not connection.closed
    assert connection.receive_frame("40", now=2.0) == (ConnectReceived("/", None),)
    connection.accept("/", "second")
    assert connection.joined == {"/": "second"}


def test_the_server_ends_a_namespace_with_a_disconnect(open_connection: Opener) -> None:
    connection = open_connection(joined=("/", "/custom"))
    connection.leave("/custom")
    connection.leave("/")
    assert connection.frames_to_send() == ["41/custom,", "41"]
    assert connection.joined == {}
    assert not connection.closed


def test_disconnecting_all_sends_one_disconnect_each_and_closes(open_connection: Opener) -> None:
    connection = open_connection(joined=("/", "/custom"))
    assert connection.disconnect_all() == (
        Closed(CloseReason.SERVER_NAMESPACE_DISCONNECT, "", ("/", "/custom")),
    )
    assert connection.frames_to_send() == ["41", "41/custom,"]
    assert connection.disconnect_all() == ()


# Events and acknowledgements


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ('42["a"]', EventReceived("/", ["a"], None)),
        ('42["a",{"b":[1,null]}]', EventReceived("/", ["a", {"b": [1, None]}], None)),
        ('420["a"]', EventReceived("/", ["a"], 0)),
        ("4212[7]", EventReceived("/", [7], 12)),
        ('42["é\\u2028😀"]', EventReceived("/", ["é\u2028😀"], None)),
    ],
)
def test_an_event_comes_out_with_its_arguments(
    connection: Connection, frame: str, event: EventReceived
) -> None:
    assert connection.receive_frame(frame, now=1.0) == (event,)


def test_a_binary_event_comes_out_once_its_last_attachment_is_here(
    connection: Connection,
) -> None:
    placeholders = '{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}'
    assert connection.receive_frame(f'452-7["a",{placeholders}]', now=1.0) == ()
    assert connection.receive_frame(b"\x01", now=1.0) == ()
    assert connection.receive_frame(b"\x02", now=1.0) == (
        EventReceived("/", ["a", b"\x02", b"\x01"], 7),
    )


def test_attachments_may_come_as_base64(connection: Connection) -> None:
    connection.receive_frame('451-["a",{"_placeholder":true,"num":0}]', now=1.0)
    assert connection.receive_frame("bAQI=", now=1.0) == (
        EventReceived("/", ["a", b"\x01\x02"], None),
    )


def test_pings_and_pongs_may_stand_between_attachments(connection: Connection) -> None:
    connection.receive_frame('451-["a",{"_placeholder":true,"num":0}]', now=1.0)
    connection.tick(25.0)
    assert connection.receive_frame("3", now=25.5) == (PongReceived(),)
    assert connection.receive_frame(b"x", now=26.0) == (EventReceived("/", ["a", b"x"], None),)


def test_a_binary_event_for_a_namespace_left_meanwhile_is_dropped(
    connection: Connection,
) -> None:
    connection.receive_frame('451-["a",{"_placeholder":true,"num":0}]', now=1.0)
    connection.leave("/")
    assert connection.receive_frame(b"x", now=1.0) == ()
    assert not connection.closed


def test_an_event_is_acknowledged_under_its_id_and_namespace(open_connection: Opener) -> None:
    connection = open_connection(joined=("/", "/custom"))
    connection.acknowledge("/", 0, [])
    connection.acknowledge("/custom", 12, [{"ok": True}])
    assert connection.frames_to_send() == ["430[]", '43/custom,12[{"ok":true}]']


def test_ids_of_our_own_questions_start_at_zero_and_never_repeat(open_connection: Opener) -> None:
    connection = open_connection(joined=("/", "/custom"))
    assert [connection.next_ack_id(name) for name in ("/", "/", "/custom")] == [0, 1, 2]
    connection.leave("/")
    connection.receive_frame("40", now=1.0)
    connection.accept("/", "again")
    assert connection.next_ack_id("/") == 3


def test_an_awaited_acknowledgement_comes_out_once(connection: Connection) -> None:
    connection.emit("/", ["question"], connection.next_ack_id("/"))
    assert connection.frames_to_send() == ['420["question"]']
    assert connection.receive_frame("430[1]", now=1.0) == (AckReceived("/", 0, [1]),)
    assert connection.receive_frame("430[1]", now=1.0) == (UnknownAck("/", 0),)


def test_a_binary_acknowledgement_comes_out_with_its_attachment(connection: Connection) -> None:
    connection.emit("/", ["question"], connection.next_ack_id("/"))
    assert connection.receive_frame('461-0[{"_placeholder":true,"num":0}]', now=1.0) == ()
    assert connection.receive_frame(b"x", now=1.0) == (AckReceived("/", 0, [b"x"]),)


def test_an_unknown_acknowledgement_is_ignored(connection: Connection) -> None:
    assert connection.receive_frame("4399[]", now=1.0) == (UnknownAck("/", 99),)
    assert not connection.closed


def test_an_acknowledgement_counts_in_its_own_namespace_only(open_connection: Opener) -> None:
    connection = open_connection(joined=("/", "/custom"))
    ack_id = connection.next_ack_id("/")
    assert connection.receive_frame(f"43/custom,{ack_id}[]", now=1.0) == (
        UnknownAck("/custom", ack_id),
    )
    assert connection.receive_frame(f"43{ack_id}[]", now=1.0) == (AckReceived("/", ack_id, []),)


def test_awaited_acknowledgements_are_dropped_with_their_namespace(
    connection: Connection,
) -> None:
    ack_id = connection.next_ack_id("/")
    connection.receive_frame("41", now=1.0)
    connection.receive_frame("40", now=1.0)
    connection.accept("/", "again")
    assert connection.receive_frame(f"43{ack_id}[]", now=1.0) == (UnknownAck("/", ack_id),)


def test_a_forgotten_acknowledgement_is_unknown(connection: Connection) -> None:
    ack_id = connection.next_ack_id("/")
    connection.forget_ack("/", ack_id)
    connection.forget_ack("/nowhere", ack_id)
    assert connection.receive_frame(f"43{ack_id}[]", now=1.0) == (UnknownAck("/", ack_id),)


def test_frames_of_one_message_stand_together(connection: Connection) -> None:
    connection.emit("/", ["a", b"1", b"2"])
    connection.tick(25.0)
    connection.emit("/", ["b"])
    frames = connection.frames_to_send()
    assert frames[1:3] == [b"1", b"2"]
    assert frames[3:] == ["2", '42["b"]']
    assert connection.frames_to_send() == []


def test_a_broadcast_is_encoded_once_and_sent_to_many(open_connection: Opener) -> None:
    frames = socketio.encode_event("/", ["news", b"x"])
    members = [open_connection(), open_connection()]
    for member in members:
        member.send_encoded(frames)
    for member in members:
        sent = member.frames_to_send()
        assert sent == list(frames)
        assert sent[0] is frames[0]


def test_a_reserved_name_is_our_own_fault_and_closes_nothing(connection: Connection) -> None:
    with pytest.raises(ReservedEventName):
        connection.emit("/", ["disconnect"])
    assert not connection.closed
    assert connection.frames_to_send() == []


@pytest.mark.parametrize(
    "command",
    [
        lambda connection: connection.emit("/custom", ["a"]),
        lambda connection: connection.acknowledge("/custom", 0, []),
        lambda connection: connection.leave("/custom"),
        lambda connection: connection.next_ack_id("/custom"),
    ],
    ids=["emit", "acknowledge", "leave", "next_ack_id"],
)
def test_a_command_for_a_namespace_not_joined_is_our_own_fault(
    connection: Connection, command: Callable[[Connection], Any]
) -> None:
    with pytest.raises(NamespaceNotJoined):
        command(connection)
    assert connection.frames_to_send() == []
    assert not connection.closed


# Long-polling


def test_a_polling_body_gives_the_events_of_its_packets_in_order(connection: Connection) -> None:
    body = engineio.encode_payload(
        ["40/custom,", '451-["a",{"_placeholder":true,"num":0}]', b"x", "3", '42["b"]']
    )
    assert list(connection.receive_payload(body, now=1.0)) == [
        ConnectReceived("/custom", None),
        EventReceived("/", ["a", b"x"], None),
        PongReceived(),
        EventReceived("/", ["b"], None),
    ]


def test_a_polling_answer_is_read_back_as_the_same_packets(connection: Connection) -> None:
    connection.emit("/", ["a", b"x"])
    frames = connection.frames_to_send()
    packets = list(engineio.decode_payload(engineio.encode_payload(frames)))
    assert [engineio.encode(*packet) for packet in packets] == frames
