"""Offsets of several processes: what one covers, and how far a process has come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.offsets import LATE_MS, Frontier, Offset, label, offset_of
from realtime.protocol import socketio

names = st.text(st.sampled_from("aZ09_-"), min_size=1, max_size=16)
numbers = st.integers(0, 10**16 - 1)


@st.composite
def offsets(draw: st.DrawFn) -> Offset:
    heard = draw(st.dictionaries(names, numbers, min_size=1, max_size=4))
    process = draw(st.sampled_from(sorted(heard)))
    return Offset(draw(numbers), process, heard[process], heard)


@given(offsets())
def test_an_offset_is_read_as_it_was_written(offset: Offset) -> None:
    assert Offset.parse(str(offset)) == offset


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.a", "1.a.", ".a.1", "1.a.1~", "1.a.1~b", "1.a.1~b.", "1.a.²", "1.a.1\n", "1.é.1"],
)
def test_what_is_no_offset_is_none(text: str) -> None:
    assert Offset.parse(text) is None


def test_an_offset_covers_itself_and_what_came_before_it() -> None:
    offset = Offset(5, "a", 7, {"a": 7, "b": 3})
    covered = [("a", 7), ("a", 6), ("b", 3)]
    missed = [("a", 8), ("b", 4), ("c", 0)]
    assert [offset.covers(Offset(9, *each, {})) for each in covered + missed] == [True] * 3 + [
        False
    ] * 3


def test_a_frontier_tells_of_each_process_how_far_it_has_come() -> None:
    frontier = Frontier()
    frontier.passed("a", 1, 1_000)
    frontier.passed("b", 8, 1_001)
    assert frontier.passed("a", 2, 1_002).heard == {"a": 2, "b": 8}


def test_a_frontier_leaves_out_who_has_been_silent_for_long() -> None:
    frontier = Frontier()
    frontier.passed("a", 1, 0)
    assert frontier.passed("b", 1, 2 * LATE_MS).heard == {"a": 1, "b": 1}
    assert frontier.passed("b", 2, 2 * LATE_MS + 1).heard == {"b": 2}


@given(st.text(), offsets(), offsets())
def test_an_event_can_be_labelled_anew(text: str, one: Offset, other: Offset) -> None:
    frames = socketio.encode_event("/", ["e", text, b"\x00", str(one)])
    assert offset_of(frames) == one
    again = label(frames, other)
    assert again == socketio.encode_event("/", ["e", text, b"\x00", str(other)])


@pytest.mark.parametrize("args", [["e"], ["e", "text"], ["e", 1], ["e", {"a": "1.a.1"}], ["1.a"]])
def test_an_event_without_an_offset_has_none(args: list[object]) -> None:
    assert offset_of(socketio.encode_event("/", args)) is None
