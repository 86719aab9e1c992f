"""What one process has read of a stream of events: once for all who come back together."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from realtime import recoverytail
from realtime.offsets import Offset
from realtime.protocol import socketio
from realtime.recoverytail import Tail
from realtime.state.errors import StateUnreachable
from realtime.state.health import Health
from realtime.state.link import Link
from tests.services import RedisServer

KEY = "events"


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[Link]:
    link = Link(redis_server.url, health=Health())
    yield link
    await link.aclose()


@pytest.fixture
def tail(link: Link) -> Tail:
    return Tail(link, KEY, "/", most=1_000)


def offset(number: int) -> Offset:
    return Offset(number, "a", number, {"a": number})


def add(server: RedisServer, *numbers: int) -> None:
    for number in numbers:
        (frame,) = socketio.encode_event("/", ["e", str(offset(number))])
        event = orjson.dumps({"f": [frame], "r": [""], "x": []}).decode()
        server.call("XADD", KEY, f"{number}-1", "e", event)


def numbers(tail: Tail, start_ms: int = 0) -> list[int]:
    return [each.offset.number for each in tail.since(start_ms)]


async def test_it_reads_from_a_time_on_and_then_on_from_there(
    tail: Tail, redis_server: RedisServer
) -> None:
    add(redis_server, 1, 2, 3)
    await tail.read(2)
    assert numbers(tail) == [2, 3]
    add(redis_server, 4)
    await tail.read(3)
    assert (numbers(tail), numbers(tail, 3)) == ([2, 3, 4], [3, 4])


async def test_an_earlier_time_is_read_anew(tail: Tail, redis_server: RedisServer) -> None:
    add(redis_server, 1, 2, 3)
    await tail.read(3)
    await tail.read(1)
    assert numbers(tail) == [1, 2, 3]


async def test_those_who_come_together_share_a_reading_that_began_after_they_asked(
    tail: Tail, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(redis_server, 1, 2, 3)
    readings: list[int] = []
    read_on = tail._read_on

    async def counted() -> None:
        readings.append(1)
        await read_on()

    monkeypatch.setattr(tail, "_read_on", counted)
    first = asyncio.create_task(tail.read(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it has begun
    await asyncio.gather(first, *(tail.read(number % 3) for number in range(50)))
    assert (len(readings), numbers(tail)) == (2, [1, 2, 3])


async def test_it_knows_what_it_holds(tail: Tail, redis_server: RedisServer) -> None:
    add(redis_server, 1, 2)
    await tail.read(0)
    assert tail.holds(offset(2), start_ms=0)
    assert not tail.holds(offset(1), start_ms=2)
    assert not tail.holds(offset(3), start_ms=0)


async def test_more_than_a_page_is_read_and_no_more_than_it_may_is_held(
    link: Link, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recoverytail, "PAGE", 3)
    tail = Tail(link, KEY, "/", most=5)
    add(redis_server, *range(1, 9))
    await tail.read(0)
    assert numbers(tail) == [4, 5, 6, 7, 8]


async def test_an_event_without_an_offset_is_passed_over(
    tail: Tail, redis_server: RedisServer
) -> None:
    event = orjson.dumps({"f": ['42["e"]'], "r": [""], "x": []}).decode()
    redis_server.call("XADD", KEY, "1-1", "e", event)
    add(redis_server, 2)
    await tail.read(0)
    assert numbers(tail) == [2]


async def test_without_redis_all_who_wait_are_told(tail: Tail, redis_server: RedisServer) -> None:
    redis_server.kill()
    said = await asyncio.gather(*(tail.read(0) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in said] == [StateUnreachable] * 3
