"""``manage.py serve``: the hub under uvicorn with safe settings."""

import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hubsite.asgi import application, hub
from hubsite.health import pending_migrations
from hubsite.serving import STOPS_WITHIN_S, HubServer, configure
from hubsite.workers import Workers, listen
from security.conf import hub as limits

__all__ = ["Command"]


class Command(BaseCommand):
    """One or several processes of the hub, until SIGINT or SIGTERM."""

    help = "Serve the hub with uvicorn. Exit code 0 after a graceful stop, 1 if it cannot start."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")
        parser.add_argument("--workers", type=int, default=1, help="processes (more need Redis)")
        parser.add_argument("--fd", type=int, help="an inherited listening socket, for workers")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        if pending_migrations():
            raise CommandError("The database is not up to date: run manage.py migrate first.")
        if options["workers"] < 1:
            raise CommandError("--workers must be 1 or more.")
        if options["workers"] > 1:
            self._serve_many(**options)
        else:
            self._serve(**options)

    def _serve(self, *, host: str, port: int, fd: int | None, **_options: Any) -> None:  # noqa: ANN401 - Django's options
        server = HubServer(
            configure(application, limits(), host=host, port=port),
            hub,
            on_started=lambda bound: self._greet(host, bound) if fd is None else None,
            notice_s=limits().stop_notice_s,
            ends_within_s=STOPS_WITHIN_S,
        )
        server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])
        if not server.started:
            raise SystemExit(1)

    def _serve_many(self, *, host: str, port: int, workers: int, **_options: Any) -> None:  # noqa: ANN401 - Django's options
        if not settings.REDIS_URL:
            raise CommandError("Several workers share their state through Redis: set REDIS_URL.")
        try:
            listener = listen(host, port)
        except OSError as fault:
            raise CommandError(f"{host}:{port}: {fault}") from fault
        manage = str(Path(settings.CHECKOUT) / "manage.py")
        supervisor = Workers([manage, "serve", "--fd", "{fd}"], count=workers, listener=listener)
        self._greet(host, listener.getsockname()[1])
        sys.exit(supervisor.run())

    def _greet(self, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        self.stdout.write(f"The hub listens on http://{shown}:{port}/  (Ctrl-C ends it)")
        self.stdout.flush()
