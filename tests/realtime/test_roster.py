"""Who is connected, and whose right to be has just ended."""

from types import SimpleNamespace
from typing import Any

import pytest

from realtime.roster import Roster
from security.principals import Principal


def principal(session: str = "s1", subject: str = "1") -> Principal:
    return Principal(
        kind="user",
        subject=subject,
        username="ada",
        role="user",
        session_id=session,
        kid="k",
        version=1,
        expires_at=0,
    )


def socket(session: str = "s1") -> Any:
    # Hashed by identity, as real sockets are.
    return type("Socket", (), {"state": SimpleNamespace(principal=principal(session))})()


def test_sockets_are_found_by_principal_until_they_are_removed() -> None:
    roster, one, two = Roster(), socket(), socket()
    roster.add("user:1", one)
    roster.add("user:1", two)
    assert roster.of("user:1") == (one, two)
    assert (len(roster), list(roster)) == (2, [one, two])
    roster.remove("user:1", one)
    roster.remove("user:1", one)
    roster.remove("user:2", one)
    assert roster.of("user:1") == (two,)
    roster.remove("user:1", two)
    assert (len(roster), roster.of("user:1")) == (0, ())


def test_a_socket_that_is_added_twice_counts_once() -> None:
    roster, one = Roster(), socket()
    roster.add("user:1", one)
    roster.add("user:1", one)
    assert len(roster) == 1


@pytest.mark.parametrize(("session", "ended"), [("s1", 1), (None, 2), ("s3", 0)])
def test_one_login_or_all_of_a_person_end(session: str | None, ended: int) -> None:
    roster = Roster()
    roster.add("user:1", socket("s1"))
    roster.add("user:1", socket("s2"))
    roster.add("user:2", socket("s1"))
    assert len(roster.end("user:1", session, now=1.0)) == ended


def test_an_ending_is_known_to_whoever_was_on_the_way_in() -> None:
    roster = Roster()
    roster.end("user:1", "s1", now=10.0)
    assert roster.ended_since(principal("s1"), 9.0)
    assert roster.ended_since(principal("s1"), 10.0)
    assert not roster.ended_since(principal("s1"), 10.1)
    assert not roster.ended_since(principal("s2"), 9.0)
    assert not roster.ended_since(principal("s1", subject="2"), 9.0)


def test_the_end_of_a_person_is_that_of_every_login() -> None:
    roster = Roster()
    roster.end("user:1", None, now=10.0)
    assert roster.ended_since(principal("anything"), 9.0)


def test_endings_are_forgotten_when_nobody_can_be_on_the_way_any_more() -> None:
    roster = Roster()
    for second in range(1_000):
        roster.end(f"user:{second}", None, now=float(second))
    assert len(roster._endings) <= 61


def test_an_ending_is_kept_for_a_whole_minute() -> None:
    roster = Roster()
    roster.end("user:1", None, now=0.0)
    roster.end("user:2", None, now=60.0)
    assert roster.ended_since(principal(), 0.0)
    roster.end("user:2", None, now=60.1)
    assert not roster.ended_since(principal(), 0.0)
