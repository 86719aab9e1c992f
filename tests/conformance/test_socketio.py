"""Socket.IO v5 over real servers, under the headings of its specification.

The cases are those that the public protocol suite asks for beyond Engine.IO's own.
"""

import json

import aiohttp
import pytest

from tests.conformance.peers import Peer

TWO = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


@pytest.fixture
def peer(http: aiohttp.ClientSession, server: str) -> Peer:
    """A client of the echo server."""
    return Peer(http, server, "/socket.io/")


# Connect


@pytest.mark.parametrize(
    ("connect", "reply", "auth"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ("40/custom", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_a_namespace_is_joined_and_told_after_the_reply(
    peer: Peer, connect: str, reply: str, auth: str
) -> None:
    async with peer.opened() as wire:
        await wire.send(connect)
        said = str(await wire.next_packet())
        body = json.loads(said.removeprefix(reply))
        assert (said.startswith(reply), body.keys()) == (True, {"sid"})
        assert isinstance(body["sid"], str)
        assert await wire.next_packet() == auth


async def test_an_unknown_namespace_is_refused(peer: Peer) -> None:
    async with peer.opened() as wire:
        await wire.send("40/random")
        assert await wire.next_packet() == '44/random,{"message":"Invalid namespace"}'


async def test_an_invalid_handshake_closes_the_connection(peer: Peer) -> None:
    async with peer.opened() as wire:
        await wire.send("4abc")
        assert await wire.closed() == 1000


async def test_a_connection_without_a_handshake_is_closed(peer: Peer) -> None:
    async with peer.opened() as wire:
        with pytest.raises(ConnectionError):
            await wire.next_packet()  # which answers pings


# Disconnect


async def test_the_connection_stays_when_its_last_namespace_is_left(peer: Peer) -> None:
    async with peer.joined() as wire:
        await wire.send("41")
        assert await wire.next() == "2"


async def test_leaving_one_namespace_leaves_the_others_alone(peer: Peer) -> None:
    async with peer.joined() as wire:
        await wire.send("40/custom")
        assert str(await wire.next_packet()).startswith("40/custom,")
        assert await wire.next_packet() == '42/custom,["auth",{}]'
        await wire.send("41/custom", '42["message","message to main namespace"]')
        assert await wire.next_packet() == '42["message-back","message to main namespace"]'


# Message


async def test_an_event_comes_back(peer: Peer) -> None:
    async with peer.joined() as wire:
        await wire.send('42["message",1,"2",{"3":[true]}]')
        assert await wire.next_packet() == '42["message-back",1,"2",{"3":[true]}]'


async def test_an_acknowledgement_comes_back(peer: Peer) -> None:
    async with peer.joined() as wire:
        await wire.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await wire.next_packet() == '43456[1,"2",{"3":[false]}]'


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        (f'452-["message",{TWO}]', f'452-["message-back",{TWO}]'),
        (f'452-789["message-with-ack",{TWO}]', f"462-789[{TWO}]"),
    ],
)
async def test_attachments_come_back(peer: Peer, sent: str, back: str) -> None:
    async with peer.joined() as wire:
        await wire.send(sent, b"\x01\x02\x03", b"\x04\x05\x06")
        assert await wire.next_packet() == back
        assert await wire.next_packet() == b"\x01\x02\x03"
        assert await wire.next_packet() == b"\x04\x05\x06"


@pytest.mark.parametrize(
    "frame",
    [
        "4abc",
        "42{}",
        '42abc["message-with-ack",1,"2",{"3":[false]}]',
        '42["connect"]',
        '42/custom,["message"]',
        "40",
        "4",
    ],
)
async def test_an_invalid_packet_closes_the_connection(peer: Peer, frame: str) -> None:
    async with peer.joined() as wire:
        await wire.send(frame)
        assert await wire.closed() == 1000


# The same over HTTP long-polling


async def test_polling_joins_and_carries_events_and_attachments(peer: Peer) -> None:
    sid = await peer.open_polling()
    await peer.post(sid, "40")
    assert (await polled(peer, sid)).startswith("40{")
    assert await polled(peer, sid) == '42["auth",{}]'
    await peer.post(sid, f'452-["message",{TWO}]\x1ebAQID\x1ebBAUG\x1e427["message-with-ack"]')
    assert await polled(peer, sid) == f'452-["message-back",{TWO}]\x1ebAQID\x1ebBAUG\x1e437[]'


async def polled(peer: Peer, sid: str) -> str:
    """The next body that is no ping; pings are answered."""
    while (said := await peer.get(sid)).text == "2":
        await peer.post(sid, "3")
    assert said.status == 200
    return said.text
