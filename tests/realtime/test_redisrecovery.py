"""Recovery by any process of a site: two of them on a real Redis, and a channel layer between."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from realtime import bus, recoverytail, redisrecovery
from realtime.namespaces import Namespace, Socket
from realtime.protocol import CloseReason
from realtime.recovery import Break, RecoveryLimits
from realtime.redisrecovery import RedisRecovery
from realtime.server import Server
from tests.realtime.asgi import WebSocket, connect, settle
from tests.realtime.layer import Layer
from tests.services import RedisServer
from tests.waiting import SOON_S, soon

Heard = list[list[Any]]


class Room(Namespace[Any]):
    """Lets everybody into the lobby."""

    def __init__(self) -> None:
        self.sockets: list[Socket[Any]] = []

    async def authorize(self, socket: Socket[Any], auth: dict[str, Any] | None) -> Any:
        return (auth or {}).get("state")

    async def joined(self, socket: Socket[Any]) -> None:
        self.sockets.append(socket)
        socket.join("lobby")


class Site:
    """One process."""

    def __init__(self, url: str, limits: RecoveryLimits | None = None) -> None:
        self.room = Room()
        self.recovery = RedisRecovery(url, limits=limits)
        self.recovery._link.timeout_s = SOON_S  # a busy machine may be late
        self.server = Server(namespaces=[self.room], recovery=self.recovery)
        self.server.node()

    def say(self, *event: Any, **options: Any) -> None:
        self.room.broadcast(["lobby"], *event, **options)

    async def kept(self) -> None:
        """Wait until Redis has all that was said and who broke off: they travel while we go on.

        A client needs longer to come back than that takes; one of a test is back at once, and on
        a busy machine before the word of its break.
        """
        asked = self.recovery._asked  # the last one: they are answered in their order
        assert asked is not None
        await self.recovery._link.answer(asked)

    def break_off(self) -> None:
        """Every connection breaks now; nothing that is on its way arrives."""
        for session in list(self.server.node().sessions.values()):
            session.lose(CloseReason.TRANSPORT_ERROR)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    layer = Layer()
    monkeypatch.setattr(bus, "get_channel_layer", lambda: layer)
    return layer


@pytest.fixture
async def sites(layer: Layer, redis_server: RedisServer) -> AsyncIterator[tuple[Site, Site]]:
    pair = Site(redis_server.url), Site(redis_server.url)
    yield pair
    for site in pair:
        await site.server.shutdown(deadline_s=0)


async def enter(socket: WebSocket, **auth: Any) -> tuple[dict[str, str], Heard]:
    """Join; returns the reply, and the events that came before it."""
    await socket.next()
    socket.send("40" + (orjson.dumps(auth).decode() if auth else ""))
    missed = []
    while not (frame := str(await socket.next())).startswith("40"):
        missed.append(orjson.loads(frame[2:]))
    await quiet()
    return orjson.loads(frame[2:]), missed


async def quiet() -> None:
    """Let the layer carry what is on its way."""
    for _ in range(5):
        await settle()


def heard(socket: WebSocket) -> Heard:
    return [orjson.loads(frame[2:]) for frame in socket.waiting() if str(frame).startswith("42")]


def names(events: Heard) -> list[Any]:
    return [event[0] for event in events]


async def test_a_client_goes_on_at_another_process(sites: tuple[Site, Site]) -> None:
    one, two = sites
    async with connect(one.server) as socket:
        reply, _ = await enter(socket, state={"note": "kept"})
        one.say("seen")
        await quiet()
        offset = heard(socket)[-1][-1]
    one.say("from where it was")
    await one.kept()  # those of two processes come in the order in which Redis had them
    two.say("from elsewhere")
    two.say("volatile", volatile=True)
    two.say("to all but it", without=[reply["sid"]])
    two.room.broadcast([reply["sid"]], "to it")
    async with connect(two.server) as socket:
        again, missed = await enter(socket, pid=reply["pid"], offset=offset)
        assert (again, names(missed)) == (reply, ["from where it was", "from elsewhere", "to it"])
        back = two.room.sockets[0]
        assert (back.recovered, back.rooms, back.state) == (True, {"lobby"}, {"note": "kept"})
        one.say("live")
        await quiet()
        assert names(heard(socket)) == ["live"]


async def test_a_client_goes_on_when_its_process_has_stopped(sites: tuple[Site, Site]) -> None:
    one, two = sites
    async with connect(one.server) as socket:
        reply, _ = await enter(socket)
        one.say("seen")
        offset = heard(socket)[-1][-1]
        await one.server.shutdown(deadline_s=0)
    async with connect(two.server) as socket:
        assert (await enter(socket, pid=reply["pid"], offset=offset))[0] == reply


async def test_what_passed_in_different_orders_is_neither_lost_nor_sent_twice(
    sites: tuple[Site, Site],
) -> None:
    async with connect(sites[0].server) as first, connect(sites[1].server) as second:
        replies = [(await enter(each))[0] for each in (first, second)]
        for number, site in enumerate(sites):
            site.say(f"of {number}")
        for site in sites:  # neither has heard of the other's yet
            site.break_off()
        seen = [heard(each) for each in (first, second)]
    assert [names(each) for each in seen] == [["of 0"], ["of 1"]]
    for site in sites:
        await site.kept()
    for site, reply, events, missing in zip(
        sites, replies, seen, (["of 1"], ["of 0"]), strict=True
    ):
        async with connect(site.server) as socket:
            again, missed = await enter(socket, pid=reply["pid"], offset=events[-1][-1])
            assert (again, names(missed)) == (reply, missing)


async def test_one_that_breaks_while_it_is_sent_what_it_missed_gets_the_rest(
    sites: tuple[Site, Site],
) -> None:
    one, two = sites
    async with connect(one.server) as socket:
        reply, _ = await enter(socket)
        one.say("seen")
        offset = heard(socket)[-1][-1]
    for site in (one, two, one):
        site.say("missed")
    for site in (one, two):
        await site.kept()
    async with connect(two.server) as socket:
        _, missed = await enter(socket, pid=reply["pid"], offset=offset)
    for index, event in enumerate(missed):
        await two.kept()
        async with connect(one.server) as socket:
            _, rest = await enter(socket, pid=reply["pid"], offset=event[-1])
            assert len(rest) == 2 - index


@pytest.mark.parametrize("stored", [True, False])
async def test_what_comes_while_it_is_read_what_was_missed_comes_once(
    sites: tuple[Site, Site], stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = sites
    async with connect(one.server) as socket:
        reply, _ = await enter(socket)
        one.say("seen")
        offset = heard(socket)[-1][-1]
    one.say("missed")
    await one.kept()
    subscribed = two.recovery._subscribed

    async def and_then() -> None:
        await subscribed()
        if not stored:
            monkeypatch.setattr(one.recovery, "_ask", lambda *_args: None)
        one.say("meanwhile")
        one.say("now or never", volatile=True)
        await one.kept()
        await quiet()

    monkeypatch.setattr(two.recovery, "_subscribed", and_then)
    async with connect(two.server) as socket:
        _, missed = await enter(socket, pid=reply["pid"], offset=offset)
        assert names(missed) == ["missed", "meanwhile"]
        one.say("live")
        await quiet()
        assert names(heard(socket)) == ["live"]
    await quiet()
    assert two.server.node().fanout._rooms == {}


async def test_an_event_that_another_process_did_not_label_goes_on_as_it_is(
    sites: tuple[Site, Site],
) -> None:
    frames = ['42["e","text"]']
    assert sites[0].recovery.heard(frames) is frames


@pytest.mark.parametrize("when", ["before it breaks", "before it comes back"])
async def test_without_redis_it_is_a_new_client(
    sites: tuple[Site, Site], redis_server: RedisServer, when: str
) -> None:
    one, two = sites
    async with connect(one.server) as socket:
        reply, _ = await enter(socket)
        one.say("seen")
        offset = heard(socket)[-1][-1]
        await quiet()
        if when == "before it breaks":
            redis_server.kill()
            one.say("sent as ever")
            assert names(heard(socket)) == ["sent as ever"]
    await one.recovery.aclose()
    redis_server.kill()
    if when == "before it breaks":
        redis_server.start()
    async with connect(two.server) as socket:
        again, missed = await enter(socket, pid=reply["pid"], offset=offset)
        assert (again["pid"] != reply["pid"], missed) == (True, [])


async def test_what_json_cannot_carry_is_not_recovered_and_logged(
    sites: tuple[Site, Site], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = sites
    async with connect(one.server) as socket:
        reply, _ = await enter(socket)
        one.room.sockets[0].state = object()
        one.say("seen")
        offset = heard(socket)[-1][-1]
    (logged,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "JSON" in logged.message
    async with connect(two.server) as socket:
        assert (await enter(socket, pid=reply["pid"], offset=offset))[0]["pid"] != reply["pid"]


# What is in Redis


def gone(number: int, identity: Any = None) -> Break:
    return Break(
        pid=f"private {number}",
        sid=f"s{number}",
        namespace="/",
        rooms={"": 0.0},
        identity=identity,
        state=None,
        at=0.0,
    )


@pytest.fixture
async def store(sites: tuple[Site, Site]) -> RedisRecovery:
    return sites[0].recovery


def record(store: RedisRecovery) -> str:
    (frame,) = store.record("/", ["e", "x" * 50], rooms=[""], now=0.0)
    offset: str = orjson.loads(str(frame)[2:])[-1]
    return offset


async def take(store: RedisRecovery, offset: str, number: int = 0, identity: Any = None) -> bool:
    found = await store.take(f"private {number}", offset, namespace="/", identity=identity, now=0.0)
    return found is not None


@pytest.mark.parametrize(
    ("limits", "kept"), [(RecoveryLimits(events=3), 3), (RecoveryLimits(size=400), 3)]
)
async def test_events_beyond_the_bounds_are_forgotten(
    redis_server: RedisServer, layer: Layer, limits: RecoveryLimits, kept: int
) -> None:
    site = Site(redis_server.url, limits)
    offsets = [record(site.recovery) for _ in range(10)]
    site.recovery.keep(gone(0))
    assert not await take(site.recovery, offsets[0])
    assert redis_server.call("XLEN", "hub:recovery:e:/") == kept
    size = int(redis_server.call("GET", "hub:recovery:s:/"))
    stored = redis_server.call("XRANGE", "hub:recovery:e:/", "-", "+")
    assert size == sum(len(fields["e"]) for _, fields in stored) > 0
    assert await take(site.recovery, offsets[-1])
    await site.server.shutdown(deadline_s=0)


async def test_events_and_breaks_last_so_long_and_no_longer(
    redis_server: RedisServer, layer: Layer
) -> None:
    site = Site(redis_server.url, RecoveryLimits(break_s=0.05))
    record(site.recovery)
    site.recovery.keep(gone(0))
    await asyncio.sleep(0.06)
    offset = record(site.recovery)
    assert not await take(site.recovery, offset)
    assert redis_server.call("XLEN", "hub:recovery:e:/") <= 1  # the new one, if that still lives
    await soon(lambda: redis_server.call("KEYS", "hub:recovery:*") == [])
    await site.server.shutdown(deadline_s=0)


async def test_the_oldest_breaks_make_room(redis_server: RedisServer, layer: Layer) -> None:
    site = Site(redis_server.url, RecoveryLimits(sessions=2))
    offset = record(site.recovery)
    for number in range(3):
        site.recovery.keep(gone(number))
    assert [await take(site.recovery, offset, number) for number in range(3)] == [
        False,
        True,
        True,
    ]
    assert redis_server.call("KEYS", "hub:recovery:[bt]*") == []
    await site.server.shutdown(deadline_s=0)


async def test_somebody_else_cannot_take_it_up_nor_spoil_it(store: RedisRecovery) -> None:
    offset = record(store)
    store.keep(gone(0, identity=["ada", 1]))
    assert not await take(store, offset, identity=["grace", 1])
    assert not await take(store, offset, identity=object())
    assert not await take(store, "no offset", identity=["ada", 1])
    assert not await take(store, offset.replace(".", "0.", 1), identity=["ada", 1])
    assert await take(store, offset, identity=["ada", 1])
    assert not await take(store, offset, identity=["ada", 1])


async def test_redis_does_not_know_what_a_client_would_show(
    store: RedisRecovery, redis_server: RedisServer
) -> None:
    store.keep(gone(7))
    await store.aclose()
    assert "private 7" not in str(redis_server.call("HGETALL", "hub:recovery:b:/"))


async def test_more_than_a_page_of_events_is_read(
    store: RedisRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recoverytail, "PAGE", 3)
    offset = record(store)
    store.keep(gone(0))
    for _ in range(8):
        record(store)
    found = await store.take("private 0", offset, namespace="/", identity=None, now=0.0)
    assert found is not None
    assert len(found[1]) == 8


async def test_many_who_come_back_at_once_all_go_on(store: RedisRecovery) -> None:
    offset = record(store)
    for number in range(200):
        store.keep(gone(number))
        record(store)
    took = await asyncio.gather(*(take(store, offset, number) for number in range(200)))
    assert all(took)


async def test_what_was_read_is_forgotten_after_a_while(
    store: RedisRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redisrecovery, "FORGET_S", 0.01)
    offset = record(store)
    store.keep(gone(0))
    assert await take(store, offset)
    assert store._tails
    await soon(lambda: not store._tails)
