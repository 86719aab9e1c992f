"""A line between two processes: in order, counted, and with back-pressure both ways."""

import asyncio
from typing import Any

import pytest

from realtime import lines
from realtime.lines import Line, LineBroken
from tests.realtime.asgi import settle


class Wire:
    """A bus that only carries; what is on it can be lost or held."""

    node_id = "n_one"

    def __init__(self) -> None:
        self.other: Line
        self.carried: list[dict[str, Any]] = []
        self.loses = 0

    def publish(self, topic: str, message: dict[str, Any]) -> None:
        self.carried.append(message)
        if self.loses:
            self.loses -= 1
        else:
            self.other.hear(message)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def ends(wire: Wire) -> tuple[Line, Line]:
    back: Any = Wire()
    there: Any = wire
    near, far = Line(there, "a", "n_two"), Line(back, "a", "n_one")
    wire.other, back.other = far, near
    return near, far


Ends = tuple[Line, Line]


def text(data: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": data}


async def test_what_is_said_in_one_turn_is_one_message(ends: Ends, wire: Wire) -> None:
    near, far = ends
    near.say("open", {"type": "http"})
    await near.tell(text("a"))
    await near.tell(text("b"))
    await settle()
    assert len(wire.carried) == 1
    heard = [await far.next() for _ in range(3)]
    assert heard == [("open", {"type": "http"}), ("asgi", text("a")), ("asgi", text("b"))]


async def test_a_gap_breaks_it(ends: Ends, wire: Wire) -> None:
    near, far = ends
    for number in range(3):
        wire.loses = int(number == 1)
        await near.tell(text(str(number)))
        await settle()
    assert await far.next() == ("asgi", text("0"))
    with pytest.raises(LineBroken):
        await far.next()


async def test_an_end_that_takes_nothing_is_not_sent_more(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "WINDOW", 4 * lines.MESSAGE_COST)
    near, far = ends
    told = asyncio.create_task(tell_all(near, 100))
    await settle()
    assert far._incoming.qsize() == 4
    for number in range(100):
        assert await far.next() == ("asgi", text(str(number % 10)))
    await told


async def tell_all(line: Line, count: int) -> None:
    for number in range(count):
        await line.tell(text(str(number % 10)))


async def test_one_large_message_passes_and_the_next_waits(ends: Ends) -> None:
    near, far = ends
    told = asyncio.create_task(near.tell(text("x" * lines.WINDOW)))
    await settle()
    assert not told.done()
    await far.next()
    await told


async def test_who_is_never_eased_is_told(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "TAKES_S", 0.01)
    with pytest.raises(ConnectionError):
        await ends[0].tell(text("x" * lines.WINDOW))


async def test_more_than_an_honest_end_would_send_breaks_it(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "WAITING", 3)
    near, far = ends
    for _ in range(5):
        near.say("beat")
        await settle()
    assert [await far.next() for _ in range(3)] == [("beat", None)] * 3
    with pytest.raises(LineBroken):
        await far.next()
