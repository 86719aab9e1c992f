"""``manage.py verify_audit``: is every chain of violations and audit entries whole?"""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import BaseCommand
from django.db import DatabaseError

from security.verification import Report, verify

__all__ = ["Command"]

SOUND: Final = 0
BROKEN: Final = 1
UNKNOWN: Final = 2


class Command(BaseCommand):
    """Exit code 0: all chains are whole. 1: some are not. 2: it cannot be told."""

    help = (
        "Check the records against their hashes, anchors and checkpoints; names the first row at "
        "fault of each chain. Exit code 0: whole; 1: broken; 2: cannot be checked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        try:
            report = verify()
        except (DatabaseError, OSError) as error:
            self._say_unknown(error, as_json=options["json"])
            raise SystemExit(UNKNOWN) from None
        if options["json"]:
            self.stdout.write(json.dumps({"ok": report.sound, **asdict(report)}))
        else:
            self._print(report)
        if not report.sound:
            raise SystemExit(BROKEN)
        if report.unverifiable:
            raise SystemExit(UNKNOWN)

    def _say_unknown(self, error: Exception, *, as_json: bool) -> None:
        reason = f"The records cannot be checked: {error}"
        if as_json:
            self.stdout.write(json.dumps({"ok": False, "error": reason}))
        else:
            self.stderr.write(reason)

    def _print(self, report: Report) -> None:
        self.stdout.write(
            f"{report.rows} rows in {report.chains} chains, {report.anchors} anchors; "
            f"{report.unanchored} rows have no anchor yet."
        )
        for place in report.unreadable:
            self.stdout.write(f"Not an anchor: {place}")
        for place in report.unverifiable:
            self.stdout.write(f"Cannot be verified, its master key was dropped: {place}")
        for finding in report.findings:
            self.stdout.write(f"BROKEN  {finding}")
        self.stdout.write("Every chain is whole." if report.sound else "The records are broken.")
