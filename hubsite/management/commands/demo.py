"""``manage.py demo``: the hub, the reference engine and agent, a little traffic, one command."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from hubsite.asgi import application, hub
from hubsite.demo import (
    ENGINE_NAME,
    PEOPLE,
    agent_secret,
    engine_secret,
    guide,
    make_people,
    stroll,
)
from hubsite.serving import HubServer, configure
from security.conf import hub as limits

__all__ = ["Command"]

log = logging.getLogger(__name__)

ENGINE_PACE_S = "0.35"  # long enough for people to watch the stages go by
ENGINE_STOPS_S = 10.0
VISITOR = "grace"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where a browser finds such a host


class Command(BaseCommand):
    """Everything that a newcomer needs, in one process tree; Ctrl-C ends all of it."""

    help = "Run the hub with demo people, a reference engine and a little traffic."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")
        parser.add_argument("--data-dir", help="where everything is kept (default: var/)")
        parser.add_argument("--no-engine", action="store_true", help="jobs wait for your engine")
        parser.add_argument("--no-agent", action="store_true", help="nobody gives hints")
        parser.add_argument("--no-traffic", action="store_true", help="nobody else is about")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        call_command("migrate", verbosity=0, interactive=False)
        logins = make_people(Path(settings.DATA_DIR))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(self._run(options, logins, engine_secret(), agent_secret()))

    async def _run(
        self, options: dict[str, Any], logins: dict[str, str], secret: str, agents: str
    ) -> None:
        config = configure(application, limits(), host=options["host"], port=options["port"])
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        server = HubServer(config, hub, on_started=started.set_result)
        _stop_with_the_terminal(server)
        serving = asyncio.create_task(server.serve())
        first: set[asyncio.Future[Any]] = {serving, started}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            raise SystemExit(1)
        url = f"http://{EVERYWHERE.get(options['host'], options['host'])}:{started.result()}"
        self._print(url, logins)
        async with contextlib.AsyncExitStack() as companions:
            if not options["no_engine"]:
                engine = self._start_engine(url, secret)
                companions.push_async_callback(_stop, engine)
            if not options["no_agent"]:
                companions.callback(_accompany(guide(url, agents)))
            if not options["no_traffic"]:
                companions.callback(_accompany(stroll(url, VISITOR, logins[VISITOR])))
            await serving

    def _start_engine(self, url: str, secret: str) -> "subprocess.Popen[bytes]":
        manage = str(Path(settings.CHECKOUT) / "manage.py")
        where = ["--url", url, "--name", ENGINE_NAME, "--pace", ENGINE_PACE_S]
        return subprocess.Popen(  # noqa: S603 - our own command with our own arguments
            [sys.executable, manage, "engine", *where],
            env={**os.environ, "HUB_ENGINE_SECRET": secret, "HUB_LOG_LEVEL": "WARNING"},
            start_new_session=True,  # Ctrl-C is for us; the engine is told afterwards
        )

    def _print(self, url: str, logins: dict[str, str]) -> None:
        lines = [f"  {name:8} {logins[name]}" for name in PEOPLE]
        self.stdout.write(
            "\n".join(
                [
                    "",
                    f"The hub is up: {url}/   admin: {url}/admin/",
                    "",
                    "Sign in as",
                    *lines,
                    "",
                    "Ctrl-C ends the hub, the engine, the agent and the traffic.",
                ]
            )
        )
        self.stdout.flush()


def _stop_with_the_terminal(server: HubServer) -> None:
    """A window that is closed ends the demo as Ctrl-C does; the engine would outlive it."""
    with contextlib.suppress(NotImplementedError, AttributeError):  # Windows knows no SIGHUP
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: setattr(server, "should_exit", True))


def _accompany(companion: Coroutine[Any, Any, None]) -> Callable[[], object]:
    """Let a companion live beside the hub, and say so if it fails; returns what ends it."""
    task = asyncio.create_task(companion)

    def tell(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a companion of the demo has ended", exc_info=error)

    task.add_done_callback(tell)
    return task.cancel


async def _stop(engine: "subprocess.Popen[bytes]") -> None:
    """SIGTERM lets the engine drain; what does not end in time is ended."""
    engine.terminate()
    try:
        await asyncio.to_thread(engine.wait, ENGINE_STOPS_S)
    except subprocess.TimeoutExpired:
        engine.kill()
