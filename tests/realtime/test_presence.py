"""The fold of sockets into people, and the differences that lead from one fold to the next."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.presence import LIVELINESS, Board, Diff, Hall, Member, diff, fold

ADA = Member(user_id="1", username="ada", state="active", device="desktop", since=10)
STATES = st.sampled_from(sorted(LIVELINESS))
PRESENCES = st.builds(
    Member,
    user_id=st.sampled_from("123"),
    username=st.just("someone"),
    state=STATES,
    device=st.sampled_from(["desktop", "mobile"]),
    since=st.integers(0, 100),
)
SOCKETS = st.sampled_from("abcdefgh")
MOVES = st.lists(st.tuples(SOCKETS, PRESENCES | st.none()), max_size=40)


def test_nobody_is_no_member() -> None:
    with pytest.raises(ValueError, match="at least one socket"):
        fold([])


@given(st.lists(PRESENCES, min_size=1))
def test_the_liveliest_socket_decides_and_the_first_arrival_counts(sockets: list[Member]) -> None:
    member = fold(sockets)
    assert LIVELINESS[member.state] == max(LIVELINESS[each.state] for each in sockets)
    assert member.since == min(each.since for each in sockets)
    assert member.sockets == len(sockets)


def test_the_device_is_that_of_the_liveliest_socket() -> None:
    idle = replace(ADA, state="idle", device="mobile", since=99)
    assert fold([idle, ADA]).device == "desktop"


def test_who_left_is_shown_once_as_disconnected() -> None:
    before = {"1": fold([ADA])}
    assert diff(before, {}).leaves == (replace(before["1"], state="disconnected", sockets=0),)


def applied(told: dict[str, Member], change: Diff) -> dict[str, Member]:
    """What a client that knew ``told`` knows after a diff; a wrong diff fails here."""
    known = dict(told)
    for member in change.leaves:
        assert member.state == "disconnected"
        del known[member.user_id]
    for member in change.changes:
        assert known[member.user_id] != member
        known[member.user_id] = member
    for member in change.joins:
        assert member.user_id not in known
        known[member.user_id] = member
    return known


@given(st.lists(MOVES, max_size=6))
def test_a_client_that_applies_every_diff_knows_who_is_there(batches: list[Any]) -> None:
    board, sockets, known = Board(), {}, {}
    for batch in batches:
        for socket, presence in batch:
            if presence is None:
                assert board.remove(socket) is (sockets.pop(socket, None) is not None)
            else:
                sockets[socket] = replace(presence, user_id=str("abcdefgh".index(socket) % 3))
                board.put(socket, sockets[socket])
        known = applied(known, board.take_diff())
        people = {each.user_id for each in sockets.values()}
        expected = {
            user: fold(each for each in sockets.values() if each.user_id == user) for user in people
        }
        assert known == dict(board.members()) == expected
        assert bool(board) is bool(sockets)


def test_a_board_that_told_of_the_last_leave_is_empty() -> None:
    board = Board()
    board.put("a", ADA)
    board.take_diff()
    board.remove("a")
    assert board
    assert board.take_diff().leaves
    assert not board


def test_who_came_and_went_between_two_looks_is_not_told() -> None:
    board = Board()
    board.put("a", ADA)
    board.remove("a")
    assert not board.take_diff()


@pytest.mark.parametrize("kind", ["joins", "leaves", "changes"])
def test_a_diff_of_one_kind_is_a_difference(kind: str) -> None:
    assert Diff(**{kind: (ADA,)})
    assert not Diff()


def test_bodies_have_the_keys_of_the_contract() -> None:
    change = Diff(joins=(fold([ADA]),))
    keys = {"user_id", "username", "state", "device", "since", "sockets"}
    assert change.body("lobby").keys() == {"room", "joins", "leaves", "changes"}
    assert change.body("lobby")["joins"][0].keys() == keys  # type: ignore[index]  # a list


PROCESSES = st.sampled_from(["", "n1", "n2"])
CLOSE = st.builds(replace, PRESENCES, since=st.sampled_from([1, 2]))  # so that many are alike
SHARES = st.tuples(PROCESSES, CLOSE, st.booleans())


@given(st.lists(SHARES), st.randoms())
def test_every_process_folds_the_same_out_of_the_same_shares(
    shares: list[Any], chance: Any
) -> None:
    held = {(process, share.user_id): share for process, share, _ in shares}
    halls = Hall(), Hall()
    for (process, user), share in held.items():
        halls[0].hear(process, user, share)
    for (process, user), share in chance.sample(sorted(held.items(), key=repr), len(held)):
        halls[1].hear(process, user, share)
    assert dict(halls[0].everybody.members()) == dict(halls[1].everybody.members())


@given(st.lists(SHARES))
def test_the_list_of_a_hall_is_everybody_as_they_are_now(shares: list[Any]) -> None:
    hall = Hall()
    for process, share, is_gone in shares:
        hall.hear(process, share.user_id, None if is_gone else share)
    listed = json.loads(hall.list_json())
    assert sorted(listed, key=repr) == sorted(
        (member.body() for member in hall.everybody.members().values()), key=repr
    )


def test_a_hall_tells_of_its_own_sockets_as_one_share_a_person() -> None:
    hall = Hall()
    hall.put("a", ADA)
    hall.put("b", replace(ADA, state="idle", since=5))
    hall.hear("n1", "1", replace(ADA, state="inactive", since=1, sockets=3))
    assert hall.own.take_diff().joins == (replace(ADA, since=5, sockets=2),)
    assert hall.everybody.take_diff().joins == (replace(ADA, since=1, sockets=5),)
    hall.remove("a", "1")
    hall.remove("b", "1")
    assert hall.own.take_diff().leaves
    assert hall.everybody.take_diff().changes[0].state == "inactive"
