"""One Engine.IO session on transports of paper: what leaves, what ends it, and when."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.engineserver import EngineServer, MessageSession
from realtime.enginesessions import EngineSession
from realtime.handshake import Denial, Handshake
from realtime.policy import Policy
from realtime.protocol import Closed, CloseReason, Frame, Limits
from tests.realtime.asgi import Clock, clocked


class Paper:
    """A transport that keeps what it is given."""

    def __init__(self, *, idle: bool = True, lingers: bool = False) -> None:
        self.idle, self.lingers = idle, lingers
        self.frames: list[Frame] = []
        self.code: int | None = None
        self.aborted = False
        self.sent = 0

    def write(self, frame: Frame) -> None:
        self.sent += 1
        self.frames.append(frame)

    def close(self, code: int, reason: str = "") -> None:
        self.code = code

    def discard(self) -> None:
        self.frames.clear()

    def abort(self) -> None:
        self.aborted = True

    async def drained(self) -> None:
        pass


class Doorman(Policy):
    """Remembers how sessions ended and who was slow."""

    def __init__(self) -> None:
        self.closed: list[Closed] = []
        self.slow = 0

    def readmit(self, handshake: Handshake, session: Any) -> Denial | None:
        return Denial(403, 4, session.id)

    def slow_reader(self, session: Any) -> None:
        self.slow += 1

    def close(self, session: Any, closed: Closed) -> None:
        self.closed.append(closed)


@pytest.fixture
def doorman() -> Doorman:
    return Doorman()


@pytest.fixture
async def server(doorman: Doorman) -> AsyncIterator[EngineServer]:
    server = EngineServer(on_message=MessageSession.send, policy=doorman, limits=Limits())
    yield server
    await server.shutdown(deadline_s=0)


@pytest.fixture
async def clock(server: EngineServer) -> Clock:
    return clocked(server)[1]


@pytest.fixture
async def session(server: EngineServer, clock: Clock) -> EngineSession:
    scope = {"type": "http", "path": "/", "headers": []}
    return server.node().open(Handshake.from_scope(scope))


@pytest.fixture
async def paper(session: EngineSession) -> Paper:
    paper = Paper()
    session.open(paper)
    return paper


async def test_the_open_packet_leaves_first(paper: Paper) -> None:
    assert [frame[:1] for frame in paper.frames] == ["0"]


async def test_the_policy_is_asked_about_a_later_request(session: EngineSession) -> None:
    denial = session.readmit(session.handshake)
    assert denial is not None
    assert denial.message == session.id


async def test_what_the_old_transport_held_leaves_before_what_is_new(
    session: EngineSession, paper: Paper
) -> None:
    other = Paper()
    session.connection.send_encoded(["4new"])
    session.upgrade(other, ["4held", b"held"], None)
    assert other.frames == ["4held", b"held", "4new"]


async def test_volatile_frames_need_a_transport_that_takes_them_at_once(
    session: EngineSession, paper: Paper
) -> None:
    paper.frames.clear()
    session.send_encoded(["4a"], volatile=True)
    paper.idle = False
    session.send_encoded(["4b"], volatile=True)
    session.send_encoded(["4c"])
    assert (paper.frames, session.writable) == (["4a", "4c"], False)


async def test_a_lost_transport_is_not_written_to(
    session: EngineSession, paper: Paper, doorman: Doorman
) -> None:
    session.lose(CloseReason.TRANSPORT_CLOSE, "code 1001")
    session.lose(CloseReason.TRANSPORT_ERROR)
    assert paper.aborted
    assert [(each.reason, each.detail) for each in doorman.closed] == [
        (CloseReason.TRANSPORT_CLOSE, "code 1001")
    ]


async def test_a_misused_transport_can_still_be_told(
    session: EngineSession, paper: Paper, doorman: Doorman
) -> None:
    session.fail("two polls at once")
    assert (paper.code, paper.aborted) == (1000, False)
    assert doorman.closed[0].reason is CloseReason.TRANSPORT_ERROR


async def test_a_close_has_its_code_once(session: EngineSession, paper: Paper) -> None:
    session.close(4403)
    session.close(1000)
    assert paper.code == 4403


async def test_a_slow_reader_is_told_4410_and_dropped_at_the_deadline(
    server: EngineServer, session: EngineSession, paper: Paper, clock: Clock, doorman: Doorman
) -> None:
    session.is_slow()
    assert (paper.code, paper.frames, doorman.slow) == (4410, [], 1)
    assert not paper.aborted
    clock.push(server.outbox_limits.write_deadline_s)
    assert paper.aborted


async def test_last_words_wait_for_a_poll_and_not_for_ever(
    server: EngineServer, session: EngineSession, clock: Clock
) -> None:
    paper = Paper(lingers=True)
    session.open(paper)
    session.close(1000)
    assert server.node().parting == {session.id: paper}
    assert not paper.aborted
    clock.push(30)
    assert server.node().parting == {}
    assert paper.aborted  # and whoever waits until it is drained goes on


async def test_nobody_waits_for_a_poll_that_a_silent_peer_will_not_send(
    server: EngineServer, session: EngineSession, clock: Clock
) -> None:
    paper = Paper(lingers=True)
    session.open(paper)
    clock.push(25)
    clock.push(20)
    assert (paper.aborted, server.node().parting) == (True, {})


async def test_it_pings_and_gives_up_by_itself(
    session: EngineSession, paper: Paper, clock: Clock, doorman: Doorman
) -> None:
    clock.push(25)
    assert paper.frames[-1] == "2"
    session.receive("3")
    clock.push(25)
    assert paper.frames.count("2") == 2
    clock.push(20)
    assert doorman.closed[0].reason is CloseReason.PING_TIMEOUT


async def test_a_body_says_how_it_ended_the_session(session: EngineSession, paper: Paper) -> None:
    assert session.receive_payload(b"4a\x1e3") is None
    assert paper.frames[-1] == "4a"
    closed = session.receive_payload(b"4b\x1e?\x1e4c")
    assert closed is not None
    assert closed.fault is not None
    assert (paper.frames[-1], session.received) == ("4b", 5)
