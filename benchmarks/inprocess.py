"""A signed action's way through the hub without the kernel: ``python -m benchmarks.inprocess``.

One process holds both ends of a WebSocket whose transport is a list. What is timed is the server's
``data_received`` alone: framing, Engine.IO, Socket.IO, gate, handler, acknowledgement. Batches are
short, and the second percentile of them is told, which on a busy machine comes back within a few
per cent; so it shows what a change is worth where ``compare`` only shows the machine's mood.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Final, cast

from benchmarks.load import Client
from benchmarks.scenarios import CLICK
from benchmarks.servers import LIMITS, Login

__all__ = ["main"]

BATCH: Final = 64
PERCENTILE: Final = 2
MICROSECONDS: Final = 1e6
FRESH: Final = 4_096  # actions signed at once: within their window on any machine
WAYS: Final = {"one action a read": 1, "eight actions a read": 8}


class Paper(asyncio.Transport):
    """A transport that hands what is written to the protocol at the other end, in the next turn."""

    other: asyncio.Protocol | None = None

    def write(self, data: Any) -> None:  # noqa: ANN401 - as the base class
        """Dropped while nobody is at the other end."""
        if self.other is not None:
            asyncio.get_running_loop().call_soon(self.other.data_received, bytes(data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as the base class
        """Both ends are on loopback."""
        return ("127.0.0.1", 0) if name in {"peername", "sockname"} else default

    def can_write_eof(self) -> bool:
        """Like TCP."""
        return True

    def pause_reading(self) -> None:
        """Nothing is read by itself."""

    def resume_reading(self) -> None:
        """As above."""

    def is_closing(self) -> bool:
        """It stays open as long as the process."""
        return False

    def close(self) -> None:
        """As above: whoever is late to close it closes nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.inprocess", description=__doc__)
    parser.add_argument("--actions", type=int, default=40_000, help="of each way")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-benchmark-") as folder:
        settings = {"HUB_DATA_DIR": folder, "DEBUG": "0", "HUB_DEVELOPMENT_KEYS": "1"}
        os.environ.update({**LIMITS, **settings})
        asyncio.run(_measure_all(_login(), options.actions))
    return 0


def _login() -> Login:
    """A database, and somebody in it."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - as above
    from django.core.management import call_command  # noqa: PLC0415 - as above

    from hubsite import asgi  # noqa: F401, PLC0415 - the settings read the environment above
    from security import recorder, sessions  # noqa: PLC0415 - as above

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create(username="ada")
    opened = sessions.open_session(user, sessions.RequestMeta(), time.time())
    recorder.shutdown(10)
    return Login(opened.tokens.access, opened.secret)


async def _measure_all(login: Login, actions: int) -> None:
    for name, frames in WAYS.items():
        spent = await _measure(login, actions, frames)
        sys.stdout.write(f"{name:24}{spent * MICROSECONDS:8.1f} us an action\n")
    await _end()


async def _end() -> None:
    """As the hub's lifespan ends: its folder is about to go."""
    from hubsite.composition import server  # noqa: PLC0415 - see _login
    from security import database, recorder  # noqa: PLC0415 - as above

    await server().shutdown(deadline_s=1.0)
    await asyncio.to_thread(recorder.shutdown, 10.0)
    await asyncio.to_thread(database.shutdown)


async def _measure(login: Login, actions: int, frames: int) -> float:
    """Seconds an action, so many of them in each read."""
    client, server, paper = await _joined(login)
    costs: list[float] = []
    while len(costs) * BATCH < actions:
        client.prepare(FRESH, "click", CLICK)
        ready = list(client._ready)  # noqa: SLF001 - what it would send
        reads = [b"".join(ready[at : at + frames]) for at in range(0, FRESH, frames)]
        answered = paper.written
        for at in range(0, len(reads), BATCH // frames):
            began = time.perf_counter()
            for read in reads[at : at + BATCH // frames]:
                server.data_received(read)
            costs.append((time.perf_counter() - began) / BATCH)
            await asyncio.sleep(0)
        if paper.written - answered != FRESH // frames:
            raise RuntimeError("not every read was answered in one write")
    return statistics.quantiles(costs, n=100)[PERCENTILE - 1]


class Counting(Paper):
    """The server's end: counts what it writes."""

    written = 0

    def write(self, data: Any) -> None:  # noqa: ANN401 - as the base class
        """As ``Paper``."""
        self.written += 1
        super().write(data)


async def _joined(login: Login) -> tuple[Client, asyncio.Protocol, Counting]:
    """A client in the hub, and nobody there to hear what the hub says from now on."""
    from uvicorn.server import ServerState  # noqa: PLC0415 - see _login

    from hubsite.asgi import application  # noqa: PLC0415 - as above
    from hubsite.serving import configure  # noqa: PLC0415 - as above
    from hubsite.websocket import HubWebSocket  # noqa: PLC0415 - as above
    from security.conf import hub  # noqa: PLC0415 - as above

    config = configure(application, hub(), host="127.0.0.1", port=0)
    config.load()
    server = HubWebSocket(config=config, server_state=ServerState(), app_state={})
    client, near, far = Client(login, "127.0.0.1"), Paper(), Counting()
    near.other, far.other = server, client
    server.connection_made(far)
    client.connection_made(near)
    await client.joined
    await client.act("room_leave", {"room": "lobby"})
    far.other = None
    return client, cast("asyncio.Protocol", server), far


if __name__ == "__main__":
    sys.exit(main())
