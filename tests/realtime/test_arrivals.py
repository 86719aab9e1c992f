"""The line of newcomers: so many at a time, in order, and nobody keeps a place for long."""

import asyncio

import pytest
import uvloop

from realtime import arrivals
from realtime.arrivals import Arrivals

WITHIN_S = 5.0


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Arrivals:
    """Two at a time, and one more in line."""
    monkeypatch.setattr(arrivals, "AT_ONCE", 2)
    monkeypatch.setattr(arrivals, "IN_LINE", 1)
    return Arrivals()


class Visit:
    """Somebody who stays in their place until told to leave."""

    def __init__(self, line: Arrivals) -> None:
        self.placed = asyncio.Event()
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._run(line))

    async def _run(self, line: Arrivals) -> None:
        async with line.place():
            self.placed.set()
            await self.leave.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_are_served_at_a_time_and_the_next_in_order(line: Arrivals) -> None:
    visits = [Visit(line) for _ in range(4)]
    await settle()
    assert [each.placed.is_set() for each in visits] == [True, True, False, False]
    visits[1].leave.set()
    await settle()
    assert [each.placed.is_set() for each in visits] == [True, True, True, False]
    for each in visits:
        each.leave.set()
    await asyncio.gather(*(each.task for each in visits))


async def test_a_full_line_says_so_until_somebody_is_done(line: Arrivals) -> None:
    visits = [Visit(line) for _ in range(3)]
    assert not line.crowded
    await settle()
    assert line.crowded
    visits[0].leave.set()
    await settle()
    assert not line.crowded
    for each in visits:
        each.leave.set()
    await asyncio.gather(*(each.task for each in visits))


async def test_who_gives_up_in_line_takes_nobodys_place(line: Arrivals) -> None:
    visits = [Visit(line) for _ in range(4)]
    await settle()
    visits[2].task.cancel()
    visits[0].leave.set()
    await settle()
    assert visits[3].placed.is_set()
    for each in visits:
        each.leave.set()
    await asyncio.gather(*(each.task for each in visits), return_exceptions=True)
    await settle()
    assert line._here == 0


async def test_nobody_keeps_a_place_for_long(
    line: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "HOLDS_S", 0.01)
    visits = [Visit(line) for _ in range(3)]
    async with asyncio.timeout(WITHIN_S):
        await visits[2].placed.wait()
    for each in visits:
        each.leave.set()
    await asyncio.gather(*(each.task for each in visits))
    await asyncio.sleep(0.05)
    assert (line._here, line._places._value) == (0, 2)


def test_a_place_is_given_back_once_also_where_it_ends_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrivals, "HOLDS_S", 0.002)

    async def visits() -> tuple[int, int]:
        line = Arrivals()

        async def visit() -> None:
            async with line.place():
                await asyncio.sleep(arrivals.HOLDS_S)

        await asyncio.gather(*(visit() for _ in range(1_000)))
        return line._here, line._places._value

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # its clock is coarse
        assert runner.run(visits()) == (0, arrivals.AT_ONCE)
