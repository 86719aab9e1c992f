"""What happens to a connection with time: heartbeat, connect timeout, and its end."""

from collections.abc import Callable

import pytest

from realtime.protocol import (
    Closed,
    CloseReason,
    Connection,
    EventReceived,
    Limits,
    PongReceived,
)

Opener = Callable[..., Connection]


# Heartbeat


def test_the_server_pings_one_interval_after_opening(connection: Connection) -> None:
    assert connection.wakes_at() == 25.0
    assert connection.tick(24.9) == ()
    assert connection.frames_to_send() == []
    assert connection.tick(25.0) == ()
    assert connection.frames_to_send() == ["2"]


def test_a_second_tick_does_not_ping_again(connection: Connection) -> None:
    connection.tick(25.0)
    connection.tick(25.0)
    connection.tick(30.0)
    assert connection.frames_to_send() == ["2"]


def test_the_next_ping_follows_one_interval_after_the_pong(connection: Connection) -> None:
    connection.tick(25.0)
    assert connection.receive_frame("3", now=26.0) == (PongReceived(),)
    assert connection.wakes_at() == 51.0
    connection.frames_to_send()
    connection.tick(51.0)
    assert connection.frames_to_send() == ["2"]


def test_no_pong_within_the_timeout_ends_the_connection(connection: Connection) -> None:
    connection.tick(25.0)
    assert connection.wakes_at() == 45.0
    assert connection.tick(44.9) == ()
    assert connection.tick(45.0) == (Closed(CloseReason.PING_TIMEOUT, "no pong in time", ("/",)),)
    assert connection.wakes_at() is None


def test_other_packets_are_no_pong(connection: Connection) -> None:
    connection.tick(25.0)
    assert connection.receive_frame('42["a"]', now=44.0) == (EventReceived("/", ["a"], None),)
    assert connection.tick(45.0)[-1] == Closed(CloseReason.PING_TIMEOUT, "no pong in time", ("/",))


def test_interval_and_timeout_come_from_the_limits(open_connection: Opener) -> None:
    connection = open_connection(limits=Limits(ping_interval_ms=300, ping_timeout_ms=200))
    assert connection.wakes_at() == 0.3
    connection.tick(0.3)
    assert connection.wakes_at() == 0.5


# Connect timeout


def test_a_connection_that_joins_nothing_is_closed(open_connection: Opener) -> None:
    connection = open_connection(joined=(), limits=Limits(connect_timeout_ms=5_000))
    assert connection.wakes_at() == 5.0
    assert connection.tick(4.9) == ()
    assert connection.tick(5.0) == (
        Closed(CloseReason.FORCED_SERVER_CLOSE, "no namespace joined in time"),
    )


def test_a_connect_that_waits_for_its_answer_is_given_longer_but_not_for_ever(
    open_connection: Opener,
) -> None:
    connection = open_connection(joined=(), limits=Limits(connect_timeout_ms=5_000))
    connection.receive_frame("40", now=4.9)
    assert connection.tick(5.0) == ()
    assert connection.wakes_at() == 20.0
    assert connection.tick(20.0) == (
        Closed(CloseReason.FORCED_SERVER_CLOSE, "no namespace joined in time"),
    )


def test_a_late_refusal_leaves_no_time_to_try_again(open_connection: Opener) -> None:
    connection = open_connection(joined=(), limits=Limits(connect_timeout_ms=5_000))
    connection.receive_frame("40", now=4.9)
    connection.tick(9.0)
    connection.refuse("/", "no")
    assert connection.wakes_at() == 5.0
    assert connection.tick(9.0) == (
        Closed(CloseReason.FORCED_SERVER_CLOSE, "no namespace joined in time"),
    )


def test_refusals_do_not_count_as_joining(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.receive_frame("40", now=1.0)
    connection.refuse("/", "no")
    connection.receive_frame("40/nowhere,", now=2.0)
    assert connection.tick(45.0)[-1] == Closed(
        CloseReason.FORCED_SERVER_CLOSE, "no namespace joined in time"
    )


def test_answering_pings_does_not_count_as_joining(open_connection: Opener) -> None:
    connection = open_connection(joined=())
    connection.tick(25.0)
    assert connection.frames_to_send() == ["2"]
    connection.receive_frame("3", now=25.1)
    assert connection.wakes_at() == 45.0
    assert connection.tick(45.0) != ()


def test_the_first_join_clears_the_connect_timeout_for_good(open_connection: Opener) -> None:
    connection = open_connection(limits=Limits(connect_timeout_ms=5_000))
    connection.receive_frame("41", now=1.0)
    assert connection.wakes_at() == 25.0
    assert connection.tick(6.0) == ()
    assert not connection.closed


# Closing


def test_a_close_packet_ends_the_connection(connection: Connection) -> None:
    (closed,) = connection.receive_frame("1", now=1.0)
    assert closed == Closed(
        CloseReason.TRANSPORT_CLOSE, "the client closed the session", ("/",), None
    )
    assert connection.close_reason is CloseReason.TRANSPORT_CLOSE


@pytest.mark.parametrize("reason", list(CloseReason))
def test_closing_names_every_joined_namespace_once(
    open_connection: Opener, reason: CloseReason
) -> None:
    connection = open_connection(joined=("/custom", "/"))
    assert connection.close(reason, "because") == (Closed(reason, "because", ("/custom", "/")),)
    assert connection.close(CloseReason.TRANSPORT_ERROR) == ()
    assert connection.close_reason is reason
    assert connection.joined == {}


def test_what_was_queued_before_closing_can_still_be_flushed(connection: Connection) -> None:
    connection.emit("/", ["goodbye"])
    connection.close(CloseReason.SERVER_SHUTTING_DOWN)
    assert connection.frames_to_send() == ['42["goodbye"]']


def test_after_closing_frames_ticks_and_commands_do_nothing(connection: Connection) -> None:
    connection.close(CloseReason.TRANSPORT_CLOSE)
    assert connection.receive_frame('42["a"]', now=1.0) == ()
    assert connection.receive_frame("", now=1.0) == ()
    assert list(connection.receive_payload(b"40\x1e\x1e", now=1.0)) == []
    assert connection.tick(1_000.0) == ()
    connection.emit("/", ["a"])
    connection.acknowledge("/", 0, [])
    connection.send_encoded(["42[]"])
    connection.accept("/", "abc")
    connection.refuse("/", "no")
    connection.leave("/")
    assert connection.next_ack_id("/") == 0
    assert connection.disconnect_all() == ()
    assert connection.frames_to_send() == []
    assert connection.wakes_at() is None
