"""What processes tell each other of presence: whatever is lost, all come to see the same."""

from collections import deque
from collections.abc import Mapping
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import replicas as module
from realtime.presence import Board, Diff, Member, State
from realtime.replicas import ASK_AGAIN_S, ROWS_OF_A_PART, Bulletin, Change, Replica, Replicas

ADA = Member("1", "ada", "active", "desktop", 10)
IDLE = Member("1", "ada", "idle", "desktop", 10)
LEASE_S, KEEP_S = 6.0, 90.0


def replicas() -> Replicas:
    return Replicas(lease_s=LEASE_S, keep_s=KEEP_S)


def news(serial: int, *rows: list[Any], process: str = "n1") -> dict[str, Any]:
    return {"kind": "news", "process": process, "serial": serial, "rows": list(rows)}


def state(serial: int, *rows: list[Any], part: int = 0, parts: int = 1) -> dict[str, Any]:
    message = news(serial, *rows)
    return {**message, "kind": "state", "part": part, "parts": parts}


ADA_ROW = ["lobby", "1", "ada", "active", "desktop", 10, 1]
GRACE_ROW = ["lobby", "2", "grace", "active", "mobile", 20, 2]


def seen(copies: Replicas, room: str = "lobby") -> dict[str, Member]:
    return {share.user_id: share for _, share in copies.in_room(room)}


def test_news_are_numbered_and_silence_is_none() -> None:
    bulletin = Bulletin("n1")
    assert bulletin.news([("lobby", Diff())]) is None
    assert bulletin.news([("lobby", Diff(joins=(ADA,)))]) == news(1, ADA_ROW)
    assert bulletin.news([("lobby", Diff(changes=(IDLE,)))])["serial"] == 2  # type: ignore[index]  # not None
    gone = bulletin.news([("lobby", Diff(leaves=(ADA,)))])
    assert gone == news(3, ["lobby", "1"])
    assert bulletin.pulse() == news(3)


def test_everything_is_told_in_parts_that_hold_nothing_up() -> None:
    bulletin = Bulletin("n1")
    crowd = [Member(str(number), "x", "active", "desktop", 1) for number in range(ROWS_OF_A_PART)]
    parts = list(bulletin.state([("lobby", crowd), ("garden", [ADA])]))
    assert [(each["part"], each["parts"], len(each["rows"])) for each in parts] == [
        (0, 2, ROWS_OF_A_PART),
        (1, 2, 1),
    ]
    assert [each["rows"] for each in bulletin.state([])] == [[]]


def test_whoever_has_not_heard_everything_asks_once_in_a_while() -> None:
    copies = replicas()
    assert copies.hear(news(7, ADA_ROW), 0.0) == [Change("lobby", "1", ADA)]
    assert copies.to_ask(0.0) == ["n1"]
    assert copies.to_ask(ASK_AGAIN_S / 2) == []
    assert copies.to_ask(ASK_AGAIN_S) == ["n1"]
    assert not copies.complete
    copies.hear(state(7, ADA_ROW), 2.0)
    assert (copies.complete, copies.to_ask(9.0)) == (True, [])


def test_news_in_order_need_no_asking_and_a_gap_does() -> None:
    copies = replicas()
    copies.hear(state(1), 0.0)
    copies.hear(news(2, ADA_ROW), 0.0)
    copies.hear(news(2), 0.0)
    assert copies.complete
    copies.hear(news(4, GRACE_ROW), 0.0)
    assert not copies.complete
    assert seen(copies).keys() == {"1", "2"}


def test_a_pulse_shows_that_the_last_news_were_lost() -> None:
    copies = replicas()
    copies.hear(state(1), 0.0)
    copies.hear(news(2), 0.0)
    assert copies.to_ask(0.0) == ["n1"]


def test_a_state_replaces_all_that_was_known() -> None:
    copies = replicas()
    copies.hear(state(1, ADA_ROW), 0.0)
    changes = copies.hear(state(9, GRACE_ROW), 0.0)
    assert {(each.user_id, each.share is None) for each in changes} == {("1", True), ("2", False)}
    assert copies.hear(state(9, GRACE_ROW), 0.0) == []


def test_news_that_a_state_knew_already_change_nothing() -> None:
    copies = replicas()
    copies.hear(state(5, ADA_ROW), 0.0)
    assert copies.hear(news(5, ["lobby", "1"]), 0.0) == []
    assert copies.hear(news(4), 0.0) == []
    assert (seen(copies), copies.complete) == ({"1": ADA}, True)


def test_a_state_with_a_missing_part_is_no_state() -> None:
    copies = replicas()
    copies.hear(state(3, ADA_ROW, part=0, parts=3), 0.0)
    copies.hear(state(3, GRACE_ROW, part=2, parts=3), 0.0)
    assert (seen(copies), copies.complete) == ({}, False)
    copies.hear(state(3, ADA_ROW, part=0, parts=2), 0.0)
    copies.hear(state(3, GRACE_ROW, part=1, parts=2), 0.0)
    assert (seen(copies).keys(), copies.complete) == ({"1", "2"}, True)


def test_parts_of_two_states_make_none() -> None:
    copies = replicas()
    copies.hear(state(3, ADA_ROW, part=0, parts=2), 0.0)
    copies.hear(state(4, GRACE_ROW, part=1, parts=2), 0.0)
    assert (seen(copies), copies.complete) == ({}, False)


def look(copies: Replicas, now: float, *living: str, certain: bool = True) -> list[str]:
    return [process for process, _ in copies.look(living, certain=certain, now=now)]


def test_a_process_without_lease_and_voice_is_dead_with_all_it_showed() -> None:
    copies = replicas()
    copies.hear(state(1, ADA_ROW), 0.0)
    assert look(copies, LEASE_S + 1, "n1") == []
    copies.hear(news(1), LEASE_S + 1)
    assert look(copies, 2 * LEASE_S, "n1") == []
    assert look(copies, 2 * LEASE_S + 0.9) == []
    [(process, changes)] = copies.look((), certain=True, now=2 * LEASE_S + 1)
    assert (process, changes) == ("n1", [Change("lobby", "1", None)])
    assert (len(copies), seen(copies)) == (0, {})


def test_a_voice_without_lease_is_alive() -> None:
    copies = replicas()
    copies.hear(state(1, ADA_ROW), 0.0)
    copies.hear(news(1), 5.0)
    assert look(copies, 9.0) == []


def test_nobody_is_dead_while_leases_are_being_renewed_again() -> None:
    copies = replicas()
    copies.hear(state(1, ADA_ROW), 0.0)
    assert look(copies, 50.0, certain=False) == []


def test_a_lease_without_voice_is_alive_but_not_for_ever() -> None:
    copies = replicas()
    copies.hear(state(1, ADA_ROW), 0.0)
    assert look(copies, KEEP_S - 1, "n1") == []
    assert look(copies, KEEP_S, "n1") == ["n1"]
    assert look(copies, KEEP_S + 1, "n1") == []
    assert (seen(copies), copies.to_ask(KEEP_S + 1)) == ({}, ["n1"])


def test_who_cannot_be_asked_about_is_dead_in_the_end() -> None:
    copies = replicas()
    copies.hear(state(1, ADA_ROW), 0.0)
    assert list(copies.look(None, certain=False, now=KEEP_S - 0.1)) == []
    assert [process for process, _ in copies.look(None, certain=False, now=KEEP_S)] == ["n1"]


def test_one_who_was_never_heard_of_is_asked() -> None:
    copies = replicas()
    look(copies, 0.0, "n1", "n2")
    assert copies.to_ask(0.0) == ["n1", "n2"]


def test_forgetting_leaves_nothing() -> None:
    copy = Replica(heard_at=0.0, listed_at=0.0)
    copy.hear_state(state(1, ADA_ROW, ["garden", *ADA_ROW[1:]]))
    assert len(copy.forget()) == 2
    assert copy.rooms == {}


# -- whatever is lost, whenever


class Hub:
    """Processes with a queue between each two, in which messages wait, arrive or are lost."""

    def __init__(self, processes: int) -> None:
        self.names = count()
        self.now = 0.0
        self.members: list[Process] = []
        self.wires: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        for _ in range(processes):
            self.start()
        self.calm_down()

    def start(self) -> None:
        self.members.append(Process(f"n{next(self.names)}"))

    def kill(self, number: int) -> None:
        """It is gone with what nobody has heard; another one takes its place."""
        gone = self.members.pop(number % len(self.members))
        for wire in [wire for wire in self.wires if gone.name in wire]:
            if wire[1] == gone.name:
                del self.wires[wire]
        self.start()

    def tell(self, process: "Process", message: Mapping[str, Any], to: str = "") -> None:
        for other in self.members:
            if other is not process and to in ("", other.name):
                self.wires.setdefault((process.name, other.name), deque()).append(dict(message))

    def publish(self, process: "Process") -> None:
        changes = [(room, board.take_diff()) for room, board in process.boards.items()]
        if said := process.bulletin.news(changes):
            self.tell(process, said)

    def carry(self, number: int, *, lost: bool = False) -> None:
        """The oldest message of one of the wires arrives, or is lost."""
        busy = [wire for wire, queue in self.wires.items() if queue]
        if not busy:
            return
        wire = busy[number % len(busy)]
        message = self.wires[wire].popleft()
        [process] = [each for each in self.members if each.name == wire[1]]
        if not lost:
            self.arrive(process, message)

    def arrive(self, process: "Process", message: Mapping[str, Any]) -> None:
        if message["kind"] == "ask":
            self.publish(process)
            shown = ((room, board.members().values()) for room, board in process.boards.items())
            for part in process.bulletin.state(shown):
                self.tell(process, part, to=message["process"])
            return
        process.copies.hear(message, self.now)
        self.ask(process)

    def ask(self, process: "Process") -> None:
        for other in process.copies.to_ask(self.now):
            self.tell(process, process.bulletin.ask(), to=other)

    def calm_down(self) -> None:
        """Nothing is lost any more; the dead are known, and everybody pulses thrice."""
        for _ in range(3):
            self.now += LEASE_S
            names = {each.name for each in self.members}
            for process in self.members:
                self.publish(process)
                self.tell(process, process.bulletin.pulse())
                list(process.copies.look(names - {process.name}, certain=True, now=self.now))
                self.ask(process)
            while any(self.wires.values()):
                self.carry(0)


class Process:
    """What one process shows, and what it knows of the others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.boards: dict[str, Board[str]] = {room: Board() for room in ("lobby", "garden")}
        self.bulletin = Bulletin(name)
        self.copies = replicas()

    def knows(self, room: str) -> set[tuple[str, Member]]:
        return set(self.copies.in_room(room))

    def shows(self, room: str) -> set[tuple[str, Member]]:
        return {(self.name, member) for member in self.boards[room].members().values()}


PROCESS = st.integers(0, 2)
ROOM = st.sampled_from(["lobby", "garden"])
SHOWN = st.sampled_from(["active", "idle", "inactive"]) | st.none()
DEEDS = st.one_of(
    st.tuples(st.just("show"), PROCESS, ROOM, st.integers(0, 9), SHOWN, st.booleans()),
    st.tuples(st.just("carry"), st.lists(st.booleans(), max_size=12)),
    st.tuples(st.just("pulse"), PROCESS),
    st.tuples(st.just("wait"), st.floats(0.1, 3.0)),
    st.tuples(st.just("kill"), PROCESS),
)


def show(
    hub: Hub, number: int, room: str, socket: int, said: State | None, published: bool
) -> None:
    """A socket comes, changes or goes; told at once, or with whatever comes next."""
    process = hub.members[number]
    if said is None:
        process.boards[room].remove(f"s{socket}")
    else:
        person = Member(str(socket % 4), "someone", said, "desktop", socket)
        process.boards[room].put(f"s{socket}", person)
    if published:
        hub.publish(process)


def carry(hub: Hub, lost: list[bool]) -> None:
    for number, is_lost in enumerate(lost):
        hub.carry(number, lost=is_lost)


def pulse(hub: Hub, number: int) -> None:
    hub.tell(hub.members[number], hub.members[number].bulletin.pulse())


def wait(hub: Hub, seconds: float) -> None:
    hub.now += seconds


DO = {"show": show, "carry": carry, "pulse": pulse, "wait": wait, "kill": Hub.kill}


@given(st.lists(DEEDS, max_size=40), st.sampled_from([1, 2, ROWS_OF_A_PART]))
@settings(max_examples=200)
def test_whatever_is_lost_all_see_the_same_in_the_end(
    deeds: list[tuple[Any, ...]], rows_of_a_part: int
) -> None:
    before, module.ROWS_OF_A_PART = module.ROWS_OF_A_PART, rows_of_a_part  # type: ignore[misc]  # parts of one row lose more
    try:
        hub = Hub(3)
        for kind, *facts in deeds:
            DO[kind](hub, *facts)
        hub.calm_down()
    finally:
        module.ROWS_OF_A_PART = before  # type: ignore[misc]  # as it was
    for process in hub.members:
        for room in ("lobby", "garden"):
            others = [each.shows(room) for each in hub.members if each is not process]
            assert process.knows(room) == set().union(*others)
        assert process.copies.complete
