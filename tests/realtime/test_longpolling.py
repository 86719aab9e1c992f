"""What waits between two polls, and who gets it when the client moves to a WebSocket."""

import asyncio

import pytest

from realtime import longpolling
from realtime.longpolling import FRAME_COST, Detached, LongPolling, Overlap
from realtime.outbox import OutboxLimits
from realtime.protocol import engineio
from tests.realtime.asgi import settle


@pytest.fixture
def slow() -> list[bool]:
    return []


@pytest.fixture
def polling(slow: list[bool]) -> LongPolling:
    limits = OutboxLimits(size=3 * (FRAME_COST + 1))
    return LongPolling(limits=limits, on_slow=lambda: slow.append(True))


async def test_a_poll_takes_all_that_waits(polling: LongPolling) -> None:
    polling.write("4a")
    polling.write(b"b")
    assert polling.ready
    assert await polling.poll() == ["4a", b"b"]
    assert not polling.ready


async def test_a_poll_waits_for_the_first_frame(polling: LongPolling) -> None:
    poll = asyncio.create_task(polling.poll())
    await settle()
    assert (polling.polling, polling.idle, poll.done()) == (True, True, False)
    polling.write("4a")
    polling.write("4b")  # before the poll has had its turn
    assert await poll == ["4a", "4b"]
    assert (polling.polling, polling.idle) == (False, False)


async def test_two_polls_overlap(polling: LongPolling) -> None:
    poll = asyncio.create_task(polling.poll())
    await settle()
    with pytest.raises(Overlap):
        await polling.poll()
    polling.close(1000)
    assert await poll == [engineio.CLOSE]


async def test_a_peer_that_never_polls_is_slow_at_a_bound_in_bytes(
    polling: LongPolling, slow: list[bool]
) -> None:
    for _ in range(3):
        polling.write("4")
    assert slow == []
    polling.write("4")
    assert slow == [True]


async def test_one_frame_may_be_larger_than_the_bound(
    polling: LongPolling, slow: list[bool]
) -> None:
    polling.write("4" * 10_000)
    assert slow == []


async def test_a_close_between_polls_lingers_for_the_next_one(polling: LongPolling) -> None:
    polling.write("4last")
    polling.close(1000)
    polling.write("4too late")
    assert polling.lingers
    assert await polling.poll() == ["4last", engineio.CLOSE]
    assert not polling.lingers


async def test_an_aborted_one_lets_its_poll_go_with_nothing(polling: LongPolling) -> None:
    poll = asyncio.create_task(polling.poll())
    await settle()
    polling.abort()
    assert (await poll, polling.lingers) == ([], False)


async def test_it_is_drained_when_a_poll_has_taken_all(polling: LongPolling) -> None:
    await polling.drained()
    polling.write("4a")
    drained = [asyncio.create_task(polling.drained()) for _ in range(2)]
    await settle()
    assert not any(task.done() for task in drained)
    assert await polling.poll() == ["4a"]
    await asyncio.gather(*drained)


# While a WebSocket probes


@pytest.mark.parametrize("when", ["before the probe", "after the probe"])
async def test_a_poll_is_let_go_after_a_while(
    polling: LongPolling, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(longpolling, "HOLD_S", 0.01)
    if when == "after the probe":
        polling.let_go()
    poll = asyncio.create_task(polling.poll())
    await settle()
    if when == "before the probe":
        polling.let_go()
    assert await poll == []


@pytest.mark.parametrize("when", ["before the probe", "after the probe"])
async def test_a_poll_that_meets_the_move_is_told_so(polling: LongPolling, when: str) -> None:
    if when == "after the probe":
        polling.let_go()
    poll = asyncio.create_task(polling.poll())
    await settle()
    if when == "before the probe":
        polling.let_go()
    await settle()
    assert polling.detach() == []
    with pytest.raises(Detached):
        await poll


async def test_what_no_poll_took_moves_over(polling: LongPolling) -> None:
    polling.let_go()
    polling.write("4a")
    polling.write(b"b")
    assert polling.detach() == ["4a", b"b"]
    assert (polling.closed, polling.ready) == (True, True)


async def test_after_a_failed_probe_polls_wait_again(
    polling: LongPolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(longpolling, "HOLD_S", 0.001)
    polling.probed = True
    polling.let_go()
    polling.stay()
    assert not polling.probed
    poll = asyncio.create_task(polling.poll())
    await asyncio.sleep(0.01)
    assert not poll.done()
    polling.abort()
    await poll
