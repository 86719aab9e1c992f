"""What a process holds is shown while somebody is there, and not before there is anything."""

import asyncio

from hubsite.gauges import HELD, Holdings
from realtime.namespaces import Namespace
from realtime.server import Server
from tests.realtime.asgi import connect, join


def shown(holdings: Holdings) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in holdings.collect()}


async def test_a_process_shows_what_it_holds() -> None:
    server = Server(namespaces=[Namespace()])
    holdings = Holdings(server)
    assert not shown(holdings).keys() & HELD.keys()
    async with connect(server) as socket:
        await join(socket)
        held = await asyncio.to_thread(shown, holdings)
        assert held["hub_sessions"] == 1
        assert held["hub_rooms"] == 2  # everybody's, and the socket's own
        assert held["hub_tasks"] >= 1
    assert shown(holdings)["hub_sessions"] == 0
    await server.shutdown(deadline_s=0)
