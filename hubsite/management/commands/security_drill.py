"""``manage.py security_drill``: a hostile client against a running hub, and what held."""

import asyncio
import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubsite.drill.cast import RemoteCast, local_cast
from hubsite.drill.matrix import CONTROLS, Matrix, page, play_all
from hubsite.drill.stage import Stage
from hubsite.drill.wire import fetch
from security import audit
from security.models import DrillRun

__all__ = ["Command"]


class Command(BaseCommand):
    """Exit code 0: every control held. 1: there is a gap. 2: the hub cannot be reached."""

    help = (
        "Attack a running hub over the wire and print what held. It plays a person and an engine "
        "of its own, made in the hub's database and removed at the end; with --username it logs in "
        "instead and leaves out what needs the database. Exit code 0: no gap; 1: gaps; 2: no hub."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--username", help="a person made for this, on a hub elsewhere")
        parser.add_argument("--password-stdin", action="store_true", help="needed with --username")
        parser.add_argument(
            "--only", action="append", default=[], choices=CONTROLS, metavar="CONTROL",
            help=f"one of: {', '.join(CONTROLS)}",
        )  # fmt: skip
        parser.add_argument("--html", type=Path, help="also write the matrix as a page")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        url, only = options["url"].rstrip("/"), options["only"]
        asyncio.run(self._knock(url))
        if options["username"]:
            if not options["password_stdin"]:
                raise CommandError("With --username the password comes from --password-stdin.")
            password = sys.stdin.read().removesuffix("\n")
            stage = Stage(url, RemoteCast(url, options["username"], password))
            matrix = asyncio.run(play_all(stage, only=only))
        else:
            with local_cast() as actors:
                matrix = asyncio.run(play_all(Stage(url, actors), only=only))
        if not only:
            self._keep(matrix)
        if options["html"]:
            options["html"].write_text(page(matrix), "utf-8")
        self._say(matrix, as_json=options["json"])
        if matrix.gaps:
            raise SystemExit(1)

    async def _knock(self, url: str) -> None:
        try:
            status, _ = await fetch(f"{url}/healthz")
        except OSError as fault:
            status, reason = 0, str(fault)
        else:
            reason = f"HTTP {status}"
        if status != 200:  # noqa: PLR2004 - OK
            self.stderr.write(f"No hub answers at {url}: {reason}")
            raise SystemExit(2)

    def _keep(self, matrix: Matrix) -> None:
        """The last result is linked in the admin. A part of the drill is no evidence."""
        DrillRun.objects.create(
            at=matrix.at,
            url=matrix.url[:200],
            scenarios=len(matrix.results),
            gaps=matrix.gaps,
            report=matrix.facts(),
        )
        audit.append("security_drill", detail={"gaps": matrix.gaps, "url": matrix.url})

    def _say(self, matrix: Matrix, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(matrix.facts()))
            return
        table = Table("control", "scenario", "expected", "seen", "")
        for each in matrix.results:
            verdict = Text("held", "green") if each.held else Text("GAP", "bold red")
            table.add_row(
                each.control, Text(each.scenario), Text(each.expected), Text(each.seen), verdict
            )
        console = Console(file=cast("IO[str]", self.stdout))
        console.print(table)
        for name in matrix.skipped:
            console.print(f"Not tried, it needs the hub's database: {name}", highlight=False)
        found = f"{matrix.gaps} gaps" if matrix.gaps else "no gap"
        console.print(f"{len(matrix.results)} scenarios, {found}.", highlight=False)
