"""``manage.py export_audit``: violations or audit entries as JSON lines or CSV."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError

from security import audit
from security.export import FORMATS, MODELS, chosen, write, write_file

__all__ = ["Command"]


class Command(BaseCommand):
    """Exit code 0, or 1 with one sentence on standard error. The export itself is audited."""

    help = "Export records, oldest first. Texts in CSV cannot act as formulas."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=sorted(FORMATS), default="jsonl")
        parser.add_argument("--model", choices=sorted(MODELS), default="violations")
        parser.add_argument("--since", type=_time, help="ISO 8601, UTC unless it says otherwise")
        parser.add_argument("--until", type=_time, help="likewise; records before it")
        parser.add_argument("--output", type=Path, help="a new file; otherwise standard output")
        parser.add_argument(
            "--json", action="store_true", help="Print one JSON object; needs --output."
        )

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        if options["json"] and options["output"] is None:
            raise CommandError("--json needs --output: the rows would stand on standard output.")
        name, form, path = options["model"], options["format"], options["output"]
        model = MODELS[name]
        rows = chosen(model, since=options["since"], until=options["until"])
        if path is None:
            count = write(rows, model, form, cast("IO[str]", self.stdout._out))  # noqa: SLF001 - the wrapper would end each write with a line
            audit.append("records_exported", target=name, detail={"rows": count})
            return
        try:
            made = write_file(rows, model, form, path)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None
        audit.append(
            "records_exported", target=name, detail={"rows": made.rows, "sha256": made.sha256}
        )
        facts = {"file": str(path), "rows": made.rows, "sha256": made.sha256}
        said = f"{made.rows} rows in {path}, SHA-256 {made.sha256}"
        self.stdout.write(json.dumps(facts) if options["json"] else said)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no ISO 8601 date or time") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
