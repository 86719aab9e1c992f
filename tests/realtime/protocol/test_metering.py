"""Whoever meters a connection sees every packet, and what it throttles is never parsed."""

from realtime.protocol import Connection, Throttled, engineio, errors, socketio
from tests.realtime.protocol.faults_bench import PLACEHOLDER, Opener, closed_by

Metered = tuple[engineio.PacketType | socketio.PacketType, int, float]


def metered_connection(open_connection: Opener, pause: int) -> tuple[Connection, list[Metered]]:
    """Open a connection whose meter notes each call and always asks for `pause`."""
    calls: list[Metered] = []

    def meter(packet_type: engineio.PacketType | socketio.PacketType, size: int, now: float) -> int:
        calls.append((packet_type, size, now))
        return pause

    connection = open_connection(meter=meter)
    calls.clear()
    return connection, calls


def test_every_packet_is_metered_with_its_type_and_bytes(open_connection: Opener) -> None:
    connection, calls = metered_connection(open_connection, 0)
    list(connection.receive_payload('3\x1e42["é"]\x1e430[]\x1e40/custom,\x1e6', now=1.0))
    connection.receive_frame(f'451-["a",{PLACEHOLDER}]', now=2.0)
    connection.receive_frame(b"xyz", now=3.0)
    connection.receive_frame("41", now=4.0)
    assert calls == [
        (engineio.PacketType.PONG, 1, 1.0),
        (socketio.PacketType.EVENT, 8, 1.0),
        (socketio.PacketType.ACK, 5, 1.0),
        (socketio.PacketType.CONNECT, 10, 1.0),
        (engineio.PacketType.NOOP, 1, 1.0),
        (socketio.PacketType.BINARY_EVENT, 39, 2.0),
        (engineio.PacketType.MESSAGE, 3, 3.0),
        (socketio.PacketType.DISCONNECT, 2, 4.0),
    ]


def test_a_throttled_event_is_never_parsed(open_connection: Opener) -> None:
    connection, _ = metered_connection(open_connection, 250)
    assert connection.receive_frame("4212[not json", now=1.0) == (Throttled("/", 12, 250),)
    assert connection.receive_frame('42["a"]', now=1.0) == (Throttled("/", None, 250),)
    assert not connection.closed


def test_attachments_of_a_throttled_event_are_swallowed(open_connection: Opener) -> None:
    connection, calls = metered_connection(open_connection, 250)
    assert connection.receive_frame(f'452-7["a",{PLACEHOLDER}]', now=1.0) == (
        Throttled("/", 7, 250),
    )
    assert connection._partial is not None
    assert connection.receive_frame(b"x" * 1000, now=1.0) == ()
    assert connection._partial._attachments == []
    assert connection.receive_frame(b"y", now=1.0) == ()
    assert connection._partial is None
    assert [size for _, size, _ in calls[1:]] == [1000, 1]


def test_only_events_are_throttled(open_connection: Opener) -> None:
    connection, _ = metered_connection(open_connection, 250)
    connection.emit("/", ["question"], connection.next_ack_id("/"))
    events = connection.receive_payload("3\x1e430[]\x1e40/custom,\x1e41", now=1.0)
    assert [type(event).__name__ for event in events] == [
        "PongReceived",
        "AckReceived",
        "ConnectReceived",
        "DisconnectReceived",
    ]


def test_a_throttled_event_must_still_be_for_a_joined_namespace(open_connection: Opener) -> None:
    connection, _ = metered_connection(open_connection, 250)
    assert closed_by(connection, '42/custom,["a"]') is errors.NotJoined


def test_a_bad_header_is_a_fault_and_not_a_throttled_event(open_connection: Opener) -> None:
    connection, calls = metered_connection(open_connection, 250)
    assert closed_by(connection, '450-["a"]') is errors.BadAttachmentCount
    assert calls == []
