"""Two processes without sticky sessions: either takes any request of any session."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from realtime import bus, lines, relay
from realtime.engineserver import EngineServer, MessageSession
from realtime.longpolling import LongPolling
from realtime.outbox import OutboxLimits
from realtime.policy import Policy
from realtime.protocol import Frame, Limits
from realtime.sids import Sids
from tests.realtime.asgi import EIO, HttpAnswer, WebSocket, connect, request
from tests.realtime.layer import Layer
from tests.waiting import soon

KEY = b"k" * 32
POLLING = EIO.format("polling")
WEBSOCKET = EIO.format("websocket")


class Doorman(Policy):
    """Notes who does not read."""

    def __init__(self) -> None:
        self.slow: list[str] = []

    def slow_reader(self, session: Any) -> None:
        self.slow.append(session.id)


def echo(session: MessageSession, message: Frame) -> None:
    session.send(message)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    layer = Layer()
    monkeypatch.setattr(bus, "get_channel_layer", lambda: layer)
    return layer


@pytest.fixture
async def sites(layer: Layer) -> AsyncIterator[tuple[EngineServer, EngineServer]]:
    """The owner of all sessions, and another process."""
    limits = Limits(upgrade_timeout_ms=500)
    pair = tuple(EngineServer(on_message=echo, limits=limits, relay_key=KEY) for _ in range(2))
    for site in pair:
        site.node()
    await quiet()
    yield pair[0], pair[1]
    for site in pair:
        await site.shutdown(deadline_s=0)


async def quiet() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def open_polling(server: EngineServer) -> str:
    answer = await request(server, "GET", POLLING)
    sid: str = orjson.loads(answer.body[1:])["sid"]
    return sid


async def poll(server: EngineServer, sid: str, **options: Any) -> HttpAnswer:
    return await request(server, "GET", f"{POLLING}&sid={sid}", **options)


async def post(server: EngineServer, sid: str, *chunks: bytes) -> HttpAnswer:
    return await request(server, "POST", f"{POLLING}&sid={sid}", *chunks)


async def probe(socket: WebSocket) -> None:
    socket.send("2probe")
    assert await socket.next() == "3probe"


Sites = tuple[EngineServer, EngineServer]


async def test_polls_and_posts_are_served_by_either_process(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    assert (await post(sites[1], sid, b"4a\x1e", b"bAQID")).body == "ok"
    answer = await poll(sites[1], sid)
    assert (answer.body, answer.headers["cache-control"]) == ("4a\x1ebAQID", "no-store")
    waiting = asyncio.create_task(poll(sites[1], sid))
    await quiet()
    assert (await post(sites[0], sid, b"4b")).body == "ok"
    assert (await waiting).body == "4b"


async def test_a_poll_given_up_elsewhere_ends_the_session(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    gone = asyncio.Event()
    waiting = asyncio.create_task(poll(sites[1], sid, gone=gone))
    await quiet()
    gone.set()
    await waiting
    await quiet()
    assert (sites[0].node().sessions, (await poll(sites[1], sid)).code) == ({}, 1)


async def test_an_upgrade_is_served_by_either_process_in_order(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        await probe(socket)
        await post(sites[0], sid, b"4a\x1ebAQID")
        socket.send("5", *(f"4{number}" for number in range(100)))
        got = [await socket.next() for _ in range(102)]
        assert got == ["4a", b"\x01\x02\x03", *(f"4{number}" for number in range(100))]
        assert (await poll(sites[1], sid)).code == 3
    await quiet()
    assert sites[0].node().sessions == {}


async def test_a_session_that_ends_closes_its_relayed_websocket(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        await probe(socket)
        socket.send("5", "abc")
        assert await socket.close_code() == 1000


@pytest.mark.parametrize("change", [lambda sid: sid[:-1] + "_", lambda sid: f"x{sid}", str.upper])
async def test_an_id_that_nobody_made_is_carried_nowhere(
    sites: Sites, layer: Layer, change: Any
) -> None:
    sid = change(await open_polling(sites[0]))
    assert (await poll(sites[1], sid)).code == 1
    assert sites[1].node()._relay._lines == {}  # type: ignore[union-attr]  # there is one


async def test_an_owner_that_is_gone_answers_unknown_session(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "OPENS_S", 0.02)
    sid = Sids("n_dead", KEY).make()
    assert (await poll(sites[1], sid)).code == 1
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        assert await socket.close_code() == 1013


async def test_an_owner_that_gave_no_sign_is_not_waited_for_again(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "OPENS_S", 0.02)
    sid = Sids("n_dead", KEY).make()
    assert (await poll(sites[1], sid)).code == 1
    monkeypatch.setattr(relay, "OPENS_S", 100.0)
    assert (await poll(sites[1], sid)).code == 1


async def test_an_owner_that_was_only_busy_is_asked_again_when_it_is_heard_of(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "OPENS_S", 0.0)
    given_up, other, theirs = [await open_polling(sites[each]) for each in (0, 0, 1)]
    assert (await poll(sites[1], given_up)).code == 1
    monkeypatch.setattr(relay, "OPENS_S", 5.0)
    await post(sites[0], theirs, b"4a")
    assert (await post(sites[1], other, b"4b")).body == "ok"


async def test_an_owner_that_has_ended_is_not_waited_for_at_all(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "OPENS_S", 100.0)
    sid = await open_polling(sites[0])
    await sites[0].shutdown(deadline_s=0)
    await quiet()
    assert (await poll(sites[1], sid)).code == 1
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        assert await socket.close_code() == 1013


def test_so_many_are_missed_and_no_more() -> None:
    missed = relay.Missed()
    for number in range(relay.MOST_MISSED + 1):
        missed.note(f"n_{number}", until=1.0)
    assert [missed.has(f"n_{number}", 0.0) for number in (0, 1)] == [False, True]
    assert not missed.has("n_1", 1.0)


async def test_an_owner_that_falls_silent_ends_the_connection(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SILENCE_S", 0.05)
    sid = await open_polling(sites[0])
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        assert await socket.close_code() == 1013


async def test_a_carrier_that_falls_silent_ends_the_connection_at_the_owner_too(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = await open_polling(sites[0])
    owner = sites[0].node()
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        await probe(socket)
        socket.send("5", "4a")
        assert await socket.next() == "4a"
        assert owner._relay is not None
        assert len(owner._relay._tasks) == 1
        monkeypatch.setattr(relay, "SILENCE_S", 0.02)
        monkeypatch.setattr(sites[1].node().bus, "publish", lambda *_lost: None)
        await soon(lambda: not owner._relay._tasks and not owner.sessions)
        assert owner._relay._lines == {}


async def test_beats_keep_a_quiet_line_open(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SILENCE_S", 0.1)
    monkeypatch.setattr(relay, "BEAT_S", 0.01)
    sid = await open_polling(sites[0])
    waiting = asyncio.create_task(poll(sites[1], sid))
    await asyncio.sleep(0.3)
    await post(sites[0], sid, b"4late")
    assert (await waiting).body == "4late"


async def test_a_lost_message_ends_the_connection_and_the_session(
    sites: Sites, layer: Layer
) -> None:
    sid = await open_polling(sites[0])
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        await probe(socket)
        socket.send("5", "4a")
        assert await socket.next() == "4a"
        layer.fails = 1
        socket.send("4lost")
        await quiet()
        socket.send("4after")
        assert await socket.close_code() == 1013
    await quiet()
    assert sites[0].node().sessions == {}


async def test_a_burst_that_is_larger_than_what_may_be_under_way_arrives_in_order(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "WINDOW", 4 * lines.MESSAGE_COST)
    sid = await open_polling(sites[0])
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        await probe(socket)
        socket.send("5", *(f"4{number}" for number in range(300)))
        assert [await socket.next() for _ in range(300)] == [f"4{number}" for number in range(300)]


async def test_a_reader_that_is_slow_elsewhere_is_found_slow_by_its_owner(
    layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "WINDOW", 4 * lines.MESSAGE_COST)
    monkeypatch.setattr(relay, "TAKES_S", 0.05)
    doorman = Doorman()
    limits = OutboxLimits(messages=10)
    owner, edge = (
        EngineServer(on_message=echo, relay_key=KEY, policy=doorman, outbox_limits=limits)
        for _ in range(2)
    )
    edge.node()
    sid = await open_polling(owner)
    async with connect(edge, f"{WEBSOCKET}&sid={sid}") as socket:
        await probe(socket)
        socket.send("5")
        await quiet()
        socket.reads.clear()
        for number in range(50):
            owner.node().sessions[sid].connection.send_encoded([f"4{number}"])
        owner.node().sessions[sid].flush()
        assert doorman.slow == [sid]
        await soon(lambda: socket.aborted)
    for site in (owner, edge):
        await site.shutdown(deadline_s=0)


async def test_nothing_is_left_when_the_connections_end(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    for _ in range(20):
        await post(sites[1], sid, b"4a")
        await poll(sites[1], sid)
    await quiet()
    lines = [site.node()._relay for site in sites]
    assert [(each._lines, each._tasks) for each in lines if each] == [({}, set())] * 2


async def test_a_session_is_told_to_go_when_the_process_that_carries_it_ends(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    async with connect(sites[1], f"{WEBSOCKET}&sid={sid}") as socket:
        await probe(socket)
        socket.send("5")
        await soon(lambda: not isinstance(sites[0].node().sessions[sid].transport, LongPolling))
        await sites[1].shutdown(deadline_s=5.0)
        assert await socket.close_code() == 1012
    assert sites[0].node().sessions == {}


async def test_who_has_parted_still_carries_the_last_poll_of_anothers_session(
    sites: Sites,
) -> None:
    sid = await open_polling(sites[0])
    await sites[1].part(deadline_s=0)
    session = sites[0].node().sessions[sid]
    session.close(1012)
    assert (await poll(sites[1], sid)).body == "1"


async def test_a_poll_is_let_go_and_its_session_stays_when_its_carrier_ends(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    waiting = asyncio.create_task(poll(sites[1], sid))
    await quiet()
    await sites[1].shutdown(deadline_s=5.0)
    assert (await waiting).body == "6"
    assert (await post(sites[0], sid, b"4still here")).body == "ok"
    assert (await poll(sites[0], sid)).body == "4still here"


async def test_a_carrier_does_not_wait_for_an_owner_that_is_gone(sites: Sites) -> None:
    sid = await open_polling(sites[0])
    waiting = asyncio.create_task(poll(sites[1], sid))
    await quiet()
    await sites[0].node().bus.stop()
    async with asyncio.timeout(5.0):
        await sites[1].shutdown(deadline_s=0.05)
    waiting.cancel()
