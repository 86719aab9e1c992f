"""The other end of ``tests.conformance.churn``: clients that come, say a word and go, in every way.

python -m tests.conformance.churn_client <origin> <first> <count>
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

from tests.conformance.peers import Peer, Wire

WORD = '420["message-with-ack","hello"]'
ANSWER = '430["hello"]'


async def come_and_go(http: aiohttp.ClientSession, origin: str, number: int) -> None:
    """One client, in the way that its number says."""
    await WAYS[number % len(WAYS)](Peer(http, origin, "/socket.io/"))


async def websocket_closed(peer: Peer) -> None:
    """The usual: a closing handshake."""
    async with peer.opened() as wire:
        await speak(wire)


async def websocket_left(peer: Peer) -> None:
    """Leaves the namespace, then says that it closes, then closes."""
    async with peer.opened() as wire:
        await speak(wire)
        await wire.send("41", "1")


async def websocket_cut(peer: Peer) -> None:
    """The connection is gone without a word."""
    async with peer.opened() as wire:
        await speak(wire)
        wire.cut()


async def websocket_at_fault(peer: Peer) -> None:
    """Sends what ends the connection."""
    async with peer.opened() as wire:
        await wire.send("40", "4what?")
        await wire.closed()


async def polling_closed(peer: Peer) -> None:
    """Says that it closes."""
    sid = await polling(peer)
    await peer.post(sid, "1")


async def polling_given_up(peer: Peer) -> None:
    """Goes away while it polls."""
    sid = await polling(peer)
    poll = asyncio.create_task(peer.get(sid))
    await asyncio.sleep(0.01)
    poll.cancel()
    with suppress(asyncio.CancelledError):
        await poll


async def polling_silent(peer: Peer) -> None:
    """Never comes back: its heartbeat ends it."""
    await polling(peer)


async def upgraded(peer: Peer) -> None:
    """Moves over to a WebSocket."""
    sid = await polling(peer)
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send("2probe")
        await wire.next()
        await wire.send("5", WORD)
        await hear(wire, ANSWER)


async def probe_given_up(peer: Peer) -> None:
    """Begins to move over, and changes its mind."""
    sid = await polling(peer)
    async with peer.websocket(EIO="4", transport="websocket", sid=sid) as wire:
        await wire.send("2probe")
        await wire.next()
    await peer.post(sid, "1")


WAYS: tuple[Callable[[Peer], Awaitable[None]], ...] = (
    *(websocket_closed, websocket_left, websocket_cut, websocket_at_fault),
    *(polling_closed, polling_given_up, polling_silent),
    *(upgraded, probe_given_up),
)


async def polling(peer: Peer) -> str:
    """Shake hands, join, ask and be answered, all by polling; returns the session's id."""
    sid = await peer.open_polling()
    for said, wanted in (("40", '42["auth"'), (WORD, ANSWER)):
        await peer.post(sid, said)
        while wanted not in (polled := (await peer.get(sid)).text):
            if "2" in polled.split("\x1e"):
                await peer.post(sid, "3")
    return sid


async def speak(wire: Wire) -> None:
    """Join, ask and be answered."""
    await wire.send("40")
    await hear(wire, '42["auth",{}]')
    await wire.send(WORD)
    await hear(wire, ANSWER)


async def hear(wire: Wire, wanted: str) -> None:
    """Wait for a packet."""
    while await wire.next_packet() != wanted:
        pass


async def main(origin: str, first: int, count: int, at_once: int) -> None:
    """Let so many come and go, so many of them at once."""
    numbers = iter(range(first, first + count))

    async def some() -> None:
        for number in numbers:
            await come_and_go(http, origin, number)

    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:
        await asyncio.gather(*(some() for _ in range(at_once)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
