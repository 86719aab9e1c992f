"""``python -m tests.conformance.churn``: ten thousand clients come and go, and nothing is left.

    python -m tests.conformance.churn --connections 10000 --json out.json

Serves an echo in this process, under uvicorn with the hub's WebSocket, while another process
connects by WebSocket, by polling and by the upgrade, and leaves in every way there is. Once warm it
counts what there is, and again at the end. Prints a verdict as JSON. Exit code 0 without
gaps: no session, room, timer, task or descriptor more than before, no more objects than a few, and
memory that has stopped growing. 1 with what was left.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from channels.routing import ProtocolTypeRouter

from hubsite.websocket import HubWebSocket
from realtime.protocol import Limits
from realtime.server import Server
from tests.conformance.echo_app import Main
from tests.services import free_port
from tests.waiting import soon

WARM_UP = 900  # caches fill, pools grow
ENDS_WITHIN_S = 60.0
SETTLES_S = 0.5  # uvicorn's ends of the last connections, which nobody outside is told of
PING_INTERVAL_MS = 300
FEW_OBJECTS = 200  # of caches that fill late; a leak of one object each would be thousands
GROWTH_BYTES = 4 * 1024 * 1024  # of an allocator that keeps what it once had
CLIENT = ("-m", "tests.conformance.churn_client")


class Uvicorn(uvicorn.Server):
    """In a loop that is not its own: the signals are this command's."""

    capture_signals = contextlib.nullcontext


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    """The server's origin while it is served."""
    applications = {"http": server.http, "websocket": server.websocket}
    options = {"ws": HubWebSocket, "ws_per_message_deflate": False, "access_log": False}
    config = uvicorn.Config(
        ProtocolTypeRouter(applications), port=free_port(), log_level="critical", **options
    )
    uvicorn_server = Uvicorn(config)
    task = asyncio.create_task(uvicorn_server.serve())
    await soon(lambda: uvicorn_server.started)
    yield f"http://127.0.0.1:{config.port}"
    uvicorn_server.should_exit = True
    await task


async def come_and_go(server: Server, *arguments: object) -> None:
    """Let the clients do it, and wait until the last one is gone."""
    client = await asyncio.create_subprocess_exec(sys.executable, *CLIENT, *map(str, arguments))
    if await client.wait():
        raise ChildProcessError("the clients failed")
    node = server.node()
    await soon(lambda: not (node.sessions or node.parting), within_s=ENDS_WITHIN_S)
    await asyncio.sleep(SETTLES_S)


def census(server: Server) -> dict[str, int]:
    """What there is in this process."""
    gc.collect()
    node = server.node()
    return {
        "sessions": len(node.sessions),
        "parting": len(node.parting),
        "rooms": len(node.fanout._rooms),
        "background": len(node._background),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "objects": len(gc.get_objects()),
        "resident_bytes": resident_bytes(),
    }


def resident_bytes() -> int:
    """What the process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def gaps(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """What was left."""
    allowed = Counter(objects=FEW_OBJECTS, resident_bytes=GROWTH_BYTES)
    return [
        f"{name}: {before[name]} before, {after[name]} after"
        for name in before
        if after[name] > before[name] + allowed[name]
    ]


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Count, let them come and go, count again."""
    limits = Limits(ping_interval_ms=PING_INTERVAL_MS, ping_timeout_ms=options.ping_timeout_ms)
    server, warm_up = Server(namespaces=[Main()], limits=limits), options.warm_up
    async with serving(server) as origin:
        await come_and_go(server, origin, 0, warm_up, options.at_once)
        before, began = census(server), time.monotonic()
        await come_and_go(server, origin, warm_up, options.connections, options.at_once)
        seconds = time.monotonic() - began
        after = census(server)
    return {
        "connections": options.connections,
        "seconds": round(seconds, 1),
        "before": before,
        "after": after,
        "gaps": gaps(before, after),
    }


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.churn")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--warm-up", type=int, default=WARM_UP)
    parser.add_argument("--at-once", type=int, default=50)
    # So long may a client be silent on a busy machine before its heartbeat ends it.
    parser.add_argument("--ping-timeout-ms", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    options = parser.parse_args()
    verdict = asyncio.run(run(options))
    text = json.dumps(verdict, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(verdict["gaps"]))


if __name__ == "__main__":
    sys.exit(main())
