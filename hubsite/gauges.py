"""What one process holds at this moment, as gauges of ``/metrics``: asked when somebody looks.

Nothing is counted for it on the way of a message. A number here that grows while nobody new comes
is a leak.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from realtime.node import Node
from realtime.server import Server
from security.recorder import recorder

__all__ = ["Holdings", "expose"]

HELD: Final[Mapping[str, tuple[str, Callable[[Node], int]]]] = {
    "hub_sessions": ("Live Engine.IO sessions.", lambda node: len(node.sessions)),
    "hub_parting_sessions": (
        "Polling sessions that were closed and have their last words still to fetch.",
        lambda node: len(node.parting),
    ),
    "hub_rooms": ("Rooms with a member here.", lambda node: node.fanout.rooms),
    "hub_timers": ("Deadlines that are waited for.", lambda node: len(node.timers)),
    "hub_background": ("Pieces of work that run apart.", lambda node: node.working),
    "hub_tasks": ("Tasks of the event loop.", lambda node: len(asyncio.all_tasks(node.loop))),
}


class Holdings(Collector):
    """The gauges of the process that a server runs in; none before it has a node."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """As prometheus-client asks, in any thread."""
        node = self._server.running
        if node is not None:
            for name, (meaning, count) in HELD.items():
                yield GaugeMetricFamily(name, meaning, value=count(node))
        waiting = recorder().waiting()
        yield GaugeMetricFamily("hub_records_waiting", "Records not yet stored.", value=waiting)


def expose(server: Server) -> None:
    """Put a server's gauges into what ``/metrics`` shows. Once for each process."""
    REGISTRY.register(Holdings(server))
