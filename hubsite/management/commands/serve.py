"""``manage.py serve``: the hub under uvicorn with safe settings."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hubsite.asgi import application, hub
from hubsite.health import pending_migrations
from hubsite.serving import HubServer, configure
from security.conf import hub as limits

__all__ = ["Command"]


class Command(BaseCommand):
    """One process of the hub, until SIGINT or SIGTERM."""

    help = "Serve the hub with uvicorn. Exit code 0 after a graceful stop, 1 if it cannot start."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        if pending_migrations():
            raise CommandError("The database is not up to date: run manage.py migrate first.")
        config = configure(application, limits(), host=options["host"], port=options["port"])
        server = HubServer(config, hub, on_started=lambda port: self._greet(options["host"], port))
        server.run()
        if not server.started:
            raise SystemExit(1)

    def _greet(self, host: str, port: int) -> None:
        self.stdout.write(f"The hub listens on http://{host}:{port}/  (Ctrl-C ends it)")
        self.stdout.flush()
