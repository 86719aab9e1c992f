"""Engine.IO v4, "Heartbeat": when the server pings and when it gives up."""

import pytest

from realtime.protocol.heartbeat import Heartbeat


@pytest.fixture
def heartbeat() -> Heartbeat:
    return Heartbeat(25_000, 20_000, now=100.0)


def test_the_first_ping_is_due_one_interval_after_opening(heartbeat: Heartbeat) -> None:
    assert heartbeat.wakes_at() == 125.0
    assert not heartbeat.take_ping(124.999)
    assert heartbeat.take_ping(125.0)


def test_a_ping_is_taken_once(heartbeat: Heartbeat) -> None:
    assert heartbeat.take_ping(125.0)
    assert not heartbeat.take_ping(125.0)
    assert not heartbeat.take_ping(200.0)


def test_the_next_ping_is_due_one_interval_after_the_pong(heartbeat: Heartbeat) -> None:
    heartbeat.take_ping(125.0)
    heartbeat.pong(126.5)
    assert heartbeat.wakes_at() == 151.5
    assert not heartbeat.take_ping(151.4)
    assert heartbeat.take_ping(151.5)


def test_silence_for_the_whole_timeout_after_a_ping_expires(heartbeat: Heartbeat) -> None:
    heartbeat.take_ping(125.0)
    assert heartbeat.wakes_at() == 145.0
    assert not heartbeat.expired(144.999)
    assert heartbeat.expired(145.0)


def test_a_pong_in_time_ends_the_wait(heartbeat: Heartbeat) -> None:
    heartbeat.take_ping(125.0)
    heartbeat.pong(144.9)
    assert not heartbeat.expired(1000.0)


def test_nothing_expires_before_a_ping_was_sent(heartbeat: Heartbeat) -> None:
    assert not heartbeat.expired(1000.0)


def test_the_wait_begins_when_a_late_ping_is_really_sent(heartbeat: Heartbeat) -> None:
    heartbeat.take_ping(140.0)
    assert not heartbeat.expired(145.0)
    assert heartbeat.wakes_at() == 160.0


def test_a_pong_that_answers_nothing_does_not_delay_the_promised_ping(
    heartbeat: Heartbeat,
) -> None:
    heartbeat.pong(124.0)
    assert heartbeat.take_ping(125.0)


def test_a_ping_that_is_a_little_late_leaves_the_deadline_alone() -> None:
    heartbeat = Heartbeat(25_000, 20_000, 0.0)
    assert heartbeat.take_ping(26.0)
    assert not heartbeat.expired(44.9)
    assert heartbeat.expired(45.0)


def test_a_ping_under_way_has_its_whole_time_again_after_an_upgrade() -> None:
    heartbeat = Heartbeat(25_000, 20_000, 0.0)
    heartbeat.rearm(1.0)
    assert heartbeat.wakes_at() == 25.0
    assert heartbeat.take_ping(25.0)
    heartbeat.rearm(40.0)
    assert heartbeat.wakes_at() == 60.0
