"""``manage.py top``: how a running hub is, live in the terminal or once as text or JSON.

It is a client like any other: it fetches ``/metrics/summary`` from the hub, whose processes answer
together, so it shows the same whichever of several workers it meets. From another machine than the
hub's it needs HUB_METRICS_TOKEN.
"""

import json
import time
from argparse import ArgumentParser
from typing import IO, Any, Final, cast

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from hubsite.top import Unreachable, fetch, rates, screen
from security.conf import hub

__all__ = ["Command"]

BETWEEN_S: Final = 1.0  # two looks that make a rate
DEGRADED: Final = 1
NO_HUB: Final = 2


class Command(BaseCommand):
    """Live until Ctrl-C, which is exit code 0. With ``--once`` or ``--json``, or without a
    terminal: 0 all is well, 1 something is degraded, 2 no hub answers."""

    help = "Show processes, connections, rates, presence, jobs, engines and refusals of a hub."
    requires_system_checks = ()  # it asks the hub, not this machine

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the hub")
        parser.add_argument("--every", type=float, default=2.0, help="seconds between looks")
        parser.add_argument("--once", action="store_true", help="Print one screen and end.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object and end.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Look once, or again and again."""
        url, every_s = options["url"], options["every"]
        if every_s <= 0:
            raise CommandError("--every is a number of seconds above zero.")
        if options["once"] or options["json"] or not self._console().is_terminal:
            self._once(url, as_json=options["json"])
            return
        try:
            self._live(url, every_s)
        except KeyboardInterrupt:
            return

    def _once(self, url: str, *, as_json: bool) -> None:
        try:
            before = self._fetch(url)
            time.sleep(BETWEEN_S)
            after = self._fetch(url)
        except Unreachable as error:
            raise CommandError(str(error), returncode=NO_HUB) from None
        per_second = rates(before, after)
        if as_json:
            self.stdout.write(json.dumps({**after, "rates": per_second}))
        else:
            self._console().print(screen(url, after, per_second))
        if after["degraded"]:
            raise SystemExit(DEGRADED)

    def _live(self, url: str, every_s: float) -> None:
        last: dict[str, Any] | None = None
        with Live(console=self._console(), screen=True, auto_refresh=False) as live:
            while True:
                try:
                    vitals = self._fetch(url)
                except Unreachable as error:
                    live.update(Text(f"{error}; asking again", "bold red"), refresh=True)
                else:
                    shown = screen(url, vitals, rates(last or vitals, vitals))
                    live.update(shown, refresh=True)
                    last = vitals
                time.sleep(every_s)

    def _fetch(self, url: str) -> dict[str, Any]:
        return fetch(url, hub().metrics_token)

    def _console(self) -> Console:
        return Console(file=cast("IO[str]", self.stdout))
