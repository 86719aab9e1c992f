"""``manage.py doctor``: is this installation sound, and what to do about it."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import IO, Any, Final, cast

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubsite.doctor import Answer, after_restore, examine

__all__ = ["Command"]

COLOURS: Final = {"ok": "green", "warn": "yellow", "bad": "red"}


class Command(BaseCommand):
    """Exit code 0: nothing is bad. 1: something is."""

    help = "Examine settings, database, migrations, channel layer, clocks, keys and records."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own form; it reports them itself

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--after-restore",
            action="store_true",
            help="first make a restored database safe: begin every feed's epoch anew, and move the "
            "anchors' files aside",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        restored = after_restore() if options["after_restore"] else None
        answers = examine()
        sound = all(answer.verdict != "bad" for answer in answers)
        if options["json"]:
            said: dict[str, object] = {"ok": sound, "answers": [asdict(each) for each in answers]}
            if restored is not None:
                said["restored"] = restored
            self.stdout.write(json.dumps(said))
        else:
            self._print(answers, restored)
        if not sound:
            raise SystemExit(1)

    def _print(self, answers: list[Answer], restored: dict[str, object] | None) -> None:
        table = Table("question", "", "answer")
        for each in answers:
            table.add_row(
                each.question, Text(each.verdict, style=COLOURS[each.verdict]), Text(each.said)
            )
        console = Console(file=cast("IO[str]", self.stdout))
        if restored is not None:
            console.print(f"Feeds with a new epoch: {restored['feeds_renewed']}.")
            console.print(f"Anchors of before: {restored['anchors_moved_to'] or 'none'}.")
        console.print(table)
