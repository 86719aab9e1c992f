"""Engine.IO v4 over real servers, under the headings of its specification.

The cases are those that the public protocol suite asks for; what is under ``BOTH`` it asks again of
the path on which Socket.IO is spoken.
"""

import asyncio
import json

import aiohttp
import pytest

from tests.conformance.peers import Peer

PING_INTERVAL_S, PING_TIMEOUT_S = 0.3, 0.2
BOTH = pytest.mark.parametrize("path", ["/engine.io/", "/socket.io/"])
OPENING = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}


@pytest.fixture
def path() -> str:
    """Bare Engine.IO, where a test does not ask for both."""
    return "/engine.io/"


@pytest.fixture
def peer(http: aiohttp.ClientSession, server: str, path: str) -> Peer:
    """A client of the echo server."""
    return Peer(http, server, path)


# Handshake, HTTP long-polling


@BOTH
async def test_polling_opens_a_session_that_may_upgrade(peer: Peer) -> None:
    said = await peer.request("GET", EIO="4", transport="polling")
    opening = json.loads(said.text.removeprefix("0"))
    assert (said.status, opening.keys()) == (200, OPENING)
    assert opening["upgrades"] == ["websocket"]
    assert (opening["pingInterval"], opening["pingTimeout"]) == (300, 200)
    assert (type(opening["sid"]), opening["maxPayload"]) == (str, 1_000_000)


@BOTH
@pytest.mark.parametrize("query", [{}, {"EIO": "abc"}, {"EIO": "3"}])
async def test_polling_refuses_another_version(peer: Peer, query: dict[str, str]) -> None:
    said = await peer.request("GET", transport="polling", **query)
    assert (said.status, json.loads(said.text)["code"]) == (400, 5)


@BOTH
@pytest.mark.parametrize("query", [{}, {"transport": "abc"}])
async def test_polling_refuses_an_unknown_transport(peer: Peer, query: dict[str, str]) -> None:
    said = await peer.request("GET", EIO="4", **query)
    assert (said.status, json.loads(said.text)["code"]) == (400, 0)


@BOTH
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_polling_opens_with_get_only(peer: Peer, method: str) -> None:
    said = await peer.request(method, EIO="4", transport="polling")
    assert (said.status, json.loads(said.text)["code"]) == (400, 2)


# Handshake, WebSocket


@BOTH
async def test_websocket_opens_a_session_without_upgrades(peer: Peer) -> None:
    async with peer.websocket(EIO="4", transport="websocket") as wire:
        opening = json.loads(str(await wire.next()).removeprefix("0"))
    assert opening.keys() == OPENING
    assert opening["upgrades"] == []
    assert (opening["pingInterval"], opening["pingTimeout"]) == (300, 200)


@BOTH
@pytest.mark.parametrize(
    "query",
    [
        {"transport": "websocket"},
        {"EIO": "abc", "transport": "websocket"},
        {"EIO": "4"},
        {"EIO": "4", "transport": "abc"},
        {"EIO": "4", "transport": "websocket", "sid": "nobody"},
    ],
)
async def test_websocket_refuses_what_polling_refuses(peer: Peer, query: dict[str, str]) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with peer.websocket(**query):
            pass


# Message, HTTP long-polling


@pytest.mark.parametrize(
    "payload", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA==", "4é"]
)
async def test_polling_carries_packets_both_ways(peer: Peer, payload: str) -> None:
    sid = await peer.open_polling()
    pushed = await peer.post(sid, payload)
    assert (pushed.status, pushed.text) == (200, "ok")
    polled = await peer.get(sid)
    assert (polled.status, polled.text) == (200, payload)


@pytest.mark.parametrize("payload", ["abc", "", "4a\x1e", "2"])
async def test_an_invalid_packet_ends_a_polling_session(peer: Peer, payload: str) -> None:
    sid = await peer.open_polling()
    assert (await peer.post(sid, payload)).status == 400
    assert (await peer.get(sid)).status == 400


async def test_a_second_poll_ends_the_session(peer: Peer) -> None:
    sid = await peer.open_polling()
    first = asyncio.create_task(peer.get(sid))
    await asyncio.sleep(0.05)
    assert (await peer.get(sid, t="burst")).status == 400
    said = await first
    assert (said.status, said.text) == (200, "1")
    assert (await peer.get(sid)).status == 400


async def test_a_poll_that_its_client_gives_up_ends_the_session(peer: Peer) -> None:
    sid = await peer.open_polling()
    poll = asyncio.create_task(peer.get(sid))
    await asyncio.sleep(0.05)
    poll.cancel()
    await asyncio.sleep(0.05)
    assert (await peer.get(sid)).status == 400


# Message, WebSocket


@pytest.mark.parametrize("frame", ["4hello", "4", "4é", b"\x01\x02\x03\x04"])
async def test_websocket_carries_packets_both_ways(peer: Peer, frame: str | bytes) -> None:
    async with peer.opened() as wire:
        await wire.send(frame)
        assert await wire.next_packet() == frame


async def test_websocket_reads_base64_as_binary(peer: Peer) -> None:
    async with peer.opened() as wire:
        await wire.send("bAQIDBA==")
        assert await wire.next_packet() == b"\x01\x02\x03\x04"


async def test_websocket_sends_base64_to_whom_asks_for_text(peer: Peer) -> None:
    async with peer.websocket(EIO="4", transport="websocket", b64="1") as wire:
        await wire.next()
        await wire.send(b"\x01\x02\x03\x04")
        assert await wire.next_packet() == "bAQIDBA=="


@pytest.mark.parametrize("frame", ["abc", "", "2"])
async def test_an_invalid_packet_closes_the_websocket(peer: Peer, frame: str) -> None:
    async with peer.opened() as wire:
        await wire.send(frame)
        assert await wire.closed() == 1000


async def test_a_frame_beyond_the_limit_closes_the_websocket(
    peer: Peer, request: pytest.FixtureRequest
) -> None:
    under_daphne = request.node.callspec.params["server"] == "daphne"
    async with peer.opened() as wire:
        await wire.send("4" + "x" * 1_000_000)
        # Daphne's WebSocket cannot send the codes between 1001 and 2999.
        assert await wire.closed() == (1000 if under_daphne else 1009)


# Heartbeat


@BOTH
async def test_polling_is_pinged_after_each_pong(peer: Peer) -> None:
    sid = await peer.open_polling()
    for _ in range(3):
        said = await peer.get(sid)
        assert (said.status, said.text) == (200, "2")
        assert (await peer.post(sid, "3")).status == 200


@BOTH
async def test_polling_without_a_pong_ends(peer: Peer) -> None:
    sid = await peer.open_polling()
    await asyncio.sleep(PING_INTERVAL_S + PING_TIMEOUT_S + 0.05)
    assert (await peer.get(sid)).status == 400


@BOTH
async def test_websocket_is_pinged_after_each_pong(peer: Peer) -> None:
    async with peer.opened() as wire:
        for _ in range(3):
            assert await wire.next() == "2"
            await wire.send("3")


@BOTH
async def test_websocket_without_a_pong_is_closed(peer: Peer) -> None:
    async with peer.opened() as wire:
        assert await wire.closed() == 1000


# Close


@BOTH
async def test_a_client_closes_its_polling_session(peer: Peer) -> None:
    sid = await peer.open_polling()
    poll = asyncio.create_task(peer.get(sid))
    await asyncio.sleep(0.05)
    pushed = await peer.post(sid, "1")
    assert (pushed.status, pushed.text) == (200, "ok")
    polled = await poll
    assert (polled.status, polled.text) == (200, "6")
    assert (await peer.get(sid)).status == 400


@BOTH
async def test_a_client_closes_its_websocket_session(peer: Peer) -> None:
    async with peer.opened() as wire:
        await wire.send("1")
        assert await wire.closed() == 1000


# Upgrade


async def test_a_session_moves_to_a_websocket(peer: Peer) -> None:
    sid = await peer.open_polling()
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send("2probe")
        assert await wire.next() == "3probe"
        polled = await peer.get(sid)
        assert (polled.status, polled.text) == (200, "6")
        await wire.send("5", "4hello")
        assert await wire.next_packet() == "4hello"


@BOTH
async def test_polling_is_over_after_the_upgrade(peer: Peer) -> None:
    sid = await peer.open_polling()
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send("2probe", "5")
        said = await peer.get(sid)
        assert (said.status, json.loads(said.text)["code"]) == (400, 3)
        assert (await peer.post(sid, "4lost")).status == 400
        assert await wire.next() == "3probe"
        await wire.send("3")
        assert await wire.next() == "2"


@BOTH
async def test_a_second_websocket_of_a_session_is_accepted_then_closed(peer: Peer) -> None:
    sid = await peer.open_polling()
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send("2probe", "5")
        assert await wire.next() == "3probe"
        async with peer.websocket(EIO="4", transport="websocket", sid=sid) as second:
            await second.closed()
        assert await wire.next() == "2"
        await wire.send("3")
        assert await wire.next() == "2"


@pytest.mark.parametrize("frames", [["4hello"], ["5"], ["2"], ["2probe", "4hello"], []])
async def test_a_failed_probe_leaves_polling_alive(peer: Peer, frames: list[str]) -> None:
    sid = await peer.open_polling()
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send(*frames)
        if frames:
            await wire.closed()
    await peer.post(sid, "4still here")
    assert (await peer.get(sid)).text == "4still here"


async def test_what_was_not_polled_comes_over_the_websocket_once_and_in_order(peer: Peer) -> None:
    sid = await peer.open_polling()
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send("2probe")
        assert await wire.next() == "3probe"
        await peer.post(sid, "4a\x1ebAQID\x1e4b")
        await wire.send("5", "4c")
        assert [await wire.next_packet() for _ in range(4)] == ["4a", b"\x01\x02\x03", "4b", "4c"]
