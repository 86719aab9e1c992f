"""Rooms and broadcasts: each member once, encoded once, and once per process."""

from collections.abc import Collection
from typing import Any

import pytest

from realtime.bus import Bus
from realtime.fanout import EVERYONE, Fanout
from realtime.protocol import Frame


class Member:
    """Keeps what it is sent."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.got: list[Frame] = []
        self.volatile = False

    def send_encoded(self, frames: Collection[Frame], *, volatile: bool = False) -> None:
        self.got.extend(frames)
        self.volatile = volatile


class Line(Bus):
    """A bus among several processes that delivers at once."""

    def __init__(self, name: str, others: list["Line"]) -> None:
        super().__init__(name)
        self.shared = True
        self.published = 0
        self._others = others
        others.append(self)

    def _queue(self, topic: str, envelope: Any = None, rank: int = 0) -> None:
        if envelope is not None:
            self.published += 1
            for other in self._others:
                other._deliver(envelope)


@pytest.fixture
def members() -> dict[str, Member]:
    return {name: Member(name) for name in "abc"}


def fanout_of(bus: Bus, members: dict[str, Member]) -> Fanout:
    fanout = Fanout(bus)
    for member in members.values():
        fanout.arrive("/", member)
    return fanout


@pytest.fixture
async def fanout(members: dict[str, Member]) -> Fanout:
    """a in red, b in red and blue, c in neither; all of them alone in this process."""
    fanout = fanout_of(Bus("one"), members)
    for room, name in [("red", "a"), ("red", "b"), ("blue", "b")]:
        fanout.join("/", room, members[name])
    return fanout


@pytest.mark.parametrize(
    ("rooms", "without", "reached"),
    [
        (["red"], [], "ab"),
        (["red", "blue"], [], "ab"),
        (["red"], ["a"], "b"),
        (["red"], ["blue"], "a"),
        ([EVERYONE], [], "abc"),
        ([EVERYONE], ["red"], "c"),
        (["c"], [], "c"),
        (["green"], [], ""),
        ([], [], ""),
    ],
)
def test_a_broadcast_reaches_each_member_of_the_rooms_once(
    fanout: Fanout,
    members: dict[str, Member],
    rooms: list[str],
    without: list[str],
    reached: str,
) -> None:
    assert fanout.broadcast("/", rooms, "e", 1, without=without) == len(reached)
    got = {name: member.got for name, member in members.items() if member.got}
    assert got == {name: ['42["e",1]'] for name in reached}
    assert fanout.delivered == len(reached)


def test_rooms_of_other_namespaces_are_other_rooms(
    fanout: Fanout, members: dict[str, Member]
) -> None:
    fanout.broadcast("/x", ["red"], "e")
    assert members["a"].got == []


def test_who_left_gets_nothing_and_empty_rooms_cost_nothing(
    fanout: Fanout, members: dict[str, Member]
) -> None:
    for name in "abc":
        for room in ("red", "blue", "never there"):
            fanout.leave("/", room, members[name])
        fanout.depart("/", members[name])
    assert (fanout.broadcast("/", ["red", EVERYONE], "e"), fanout._rooms) == (0, {})


def test_binary_frames_stay_together_and_volatile_is_passed_on(
    fanout: Fanout, members: dict[str, Member]
) -> None:
    fanout.broadcast("/", ["blue"], "e", b"\x01", volatile=True)
    assert members["b"].got == ['451-["e",{"_placeholder":true,"num":0}]', b"\x01"]
    assert members["b"].volatile


async def test_another_process_delivers_once_though_it_is_in_several_rooms(
    members: dict[str, Member],
) -> None:
    lines: list[Line] = []
    here, there = fanout_of(Line("here", lines), {}), fanout_of(Line("there", lines), members)
    for room, name in [("red", "a"), ("blue", "a"), ("blue", "b")]:
        there.join("/", room, members[name])
    assert here.broadcast("/", ["red", "blue"], "e", without=["b"]) == 0
    assert (members["a"].got, members["b"].got, members["c"].got) == (['42["e"]'], [], [])
    assert lines[0].published == 2


async def test_a_process_hears_only_rooms_that_somebody_there_is_in(
    members: dict[str, Member],
) -> None:
    lines: list[Line] = []
    there = fanout_of(Line("there", lines), members)
    there.join("/", "red", members["a"])
    assert len(lines[0]._listeners) == 5  # red, everyone, and one by each id
    for member in members.values():
        there.depart("/", member)
    there.leave("/", "red", members["a"])
    assert lines[0]._listeners == {}


async def test_what_is_for_this_process_only_crosses_no_bus(members: dict[str, Member]) -> None:
    lines: list[Line] = []
    here, there = fanout_of(Line("here", lines), {}), fanout_of(Line("there", lines), members)
    mine = Member("mine")
    here.join("/", "red", mine)
    there.join("/", "red", members["a"])
    assert (here.broadcast_here("/", "red", "e", 1), here.delivered) == (1, 1)
    assert (mine.got, members["a"].got, lines[0].published) == (['42["e",1]'], [], 0)
    assert here.broadcast_here("/", "nobody's", "e") == 0
