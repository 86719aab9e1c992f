"""What is measured: each scenario takes a running server and returns microseconds or KiB.

Every scenario has a warm-up of its own, then reads the server's CPU time before and after.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from benchmarks.load import Client, connect
from benchmarks.servers import Hub, Login, Peer

__all__ = ["SCENARIOS", "Scenario"]

Server = Hub | Peer
Scenario = Callable[[Server, Sequence[Login], float], Coroutine[Any, Any, float]]

CLICK: Final = {"target": "door-7", "x": 0.25, "y": 0.75, "button": "left"}
ACTIONS_PER_S: Final = 40_000  # signed ahead; no server here comes near it on one core
FANOUT_MEMBERS: Final = 500
IDLE_SOCKETS: Final = 2_000
CONNECTS: Final = 200
SETTLE_S: Final = 0.5
WARM_UP_S: Final = 0.2
MICROSECONDS: Final = 1e6


async def action_on_one_socket(server: Server, logins: Sequence[Login], seconds: float) -> float:
    """CPU microseconds per signed action: one socket, eight in flight, nobody else in the room."""
    (client,) = await connect(server.address, logins[:1])
    return await _actions(server, [client], seconds, in_flight=8)


async def action_on_fifty_sockets(server: Server, logins: Sequence[Login], seconds: float) -> float:
    """CPU microseconds per signed action: fifty people, one in flight each, none in a room."""
    clients = await connect(server.address, logins[:50])
    for client in clients:
        await client.act("room_leave", {"room": "lobby"})
    return await _actions(server, clients, seconds, in_flight=1)


async def delivery_to_500(server: Server, logins: Sequence[Login], seconds: float) -> float:
    """CPU microseconds per delivery: one acts, 500 in the room are told, then the next action."""
    people = list(logins[1:]) * FANOUT_MEMBERS
    audience = await connect(server.address, people[:FANOUT_MEMBERS])
    (speaker,) = await connect(server.address, logins[:1])
    await asyncio.sleep(SETTLE_S)
    room = _Room(speaker, audience)
    speaker.prepare(int(seconds * 2_000) + 100, "click", CLICK)
    await room.speak(WARM_UP_S)
    before, told = server.cpu_s(), room.delivered
    await room.speak(seconds)
    cost = (server.cpu_s() - before) / (room.delivered - told)
    await _close([speaker, *audience])
    return cost * MICROSECONDS


async def connecting(server: Server, logins: Sequence[Login], _seconds: float) -> float:
    """CPU microseconds per connect: from the upgrade until everything a newcomer is sent."""
    await _close(await connect(server.address, logins[:20]))
    await asyncio.sleep(SETTLE_S)
    before = server.cpu_s()
    clients = await connect(server.address, (list(logins) * CONNECTS)[:CONNECTS], at_once=8)
    await asyncio.sleep(SETTLE_S)
    cost = (server.cpu_s() - before) / CONNECTS
    await _close(clients)
    return cost * MICROSECONDS


async def idle_memory(server: Server, logins: Sequence[Login], _seconds: float) -> float:
    """KiB of resident memory per idle socket; only the first run on a fresh server means much."""
    warm = await connect(server.address, (list(logins) * 2)[:100])
    await asyncio.sleep(SETTLE_S)
    before = server.resident_kib()
    clients = await connect(server.address, (list(logins) * IDLE_SOCKETS)[:IDLE_SOCKETS])
    await asyncio.sleep(2 * SETTLE_S)
    cost = (server.resident_kib() - before) / IDLE_SOCKETS
    await _close([*warm, *clients])
    return cost


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "idle_kib": idle_memory,
    "connect_us": connecting,
    "action_1_us": action_on_one_socket,
    "action_50_us": action_on_fifty_sockets,
    "delivery_us": delivery_to_500,
}


async def _actions(
    server: Server, clients: Sequence[Client], seconds: float, *, in_flight: int
) -> float:
    await asyncio.sleep(SETTLE_S)
    count = int((seconds + WARM_UP_S) * ACTIONS_PER_S / len(clients)) + in_flight
    for client in clients:
        client.prepare(count, "click", CLICK)
    for client in clients:
        client.on_ack = _refill(client)
        client.send_prepared(in_flight)
    await asyncio.sleep(WARM_UP_S)
    before, acks = server.cpu_s(), _acks(clients)
    await asyncio.sleep(seconds)
    cost = (server.cpu_s() - before) / (_acks(clients) - acks)
    _check(clients)
    await _close(clients)
    return cost * MICROSECONDS


def _refill(client: Client) -> Callable[[], None]:
    """Keep as many in flight as were sent at first: as many go out as answers came."""
    answered = client.acks

    def on_ack() -> None:
        nonlocal answered
        client.send_prepared(client.acks - answered)
        answered = client.acks

    return on_ack


def _acks(clients: Sequence[Client]) -> int:
    return sum(client.acks for client in clients)


def _check(clients: Sequence[Client]) -> None:
    refused = [text for client in clients for text in client.refused]
    if refused:
        raise RuntimeError(f"{len(refused)} refused, the first: {refused[0]!r}")


class _Room:
    """One speaker and its audience: speaks again only when everybody has been told."""

    def __init__(self, speaker: Client, audience: Sequence[Client]) -> None:
        self._speaker, self._audience = speaker, audience
        self.delivered = 0
        self._missing = 0
        self._all_told = asyncio.Event()
        for client in audience:
            client.on_update = self._told

    async def speak(self, seconds: float) -> None:
        """Act one at a time for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._missing = len(self._audience)
            self._all_told.clear()
            self._speaker.send_prepared()
            await self._all_told.wait()
        _check([self._speaker])

    def _told(self) -> None:
        self.delivered += 1
        self._missing -= 1
        if not self._missing:
            self._all_told.set()


async def _close(clients: Sequence[Client]) -> None:
    for client in clients:
        client.close()
    await asyncio.sleep(SETTLE_S)
