"""``manage.py prune``: lets go of what is old: anchored records, feed events, built files."""

import json
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from engine.pruning import PRUNERS
from security import audit, clock
from security.conf import hub
from security.pruning import Pruned, RecordsBroken, prune_records

__all__ = ["Command"]


class Command(BaseCommand):
    """Exit code 0, or 1 with one sentence on standard error and nothing removed."""

    help = (
        "Export and remove records older than HUB_RECORD_KEEP_DAYS that are anchored, and remove "
        "feed events beyond HUB_FEED_KEEP_HOURS or HUB_FEED_KEEP_EVENTS, and built files older "
        "than HUB_ARTIFACT_KEEP_DAYS."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep-days", type=float, help="instead of HUB_RECORD_KEEP_DAYS")
        parser.add_argument("--export-dir", type=Path, help="default: exports/ in HUB_DATA_DIR")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        kept = options["keep_days"]
        days = hub().record_keep_days if kept is None else kept
        now_ms = clock.now_ms()
        try:
            pruned = prune_records(
                before=clock.moment(now_ms) - timedelta(days=days),
                folder=options["export_dir"] or Path(settings.DATA_DIR) / "exports",
                now_ms=now_ms,
            )
            removed = {name: prune() for name, prune in PRUNERS.items()}
        except (RecordsBroken, DatabaseError, OSError) as fault:
            raise CommandError(f"Nothing more is removed. {fault}") from None
        for each in pruned:
            if each.removed:
                audit.append("records_pruned", target=each.name, detail=_facts(each))
        said = {**{each.name: _facts(each) for each in pruned}, **removed}
        self.stdout.write(json.dumps(said) if options["json"] else _sentences(pruned, removed))


def _facts(pruned: Pruned) -> dict[str, object]:
    facts: dict[str, object] = {"removed": pruned.removed, "chains": pruned.chains}
    if pruned.export is not None:
        facts["file"] = str(pruned.export.path)
        facts["sha256"] = pruned.export.sha256
    return facts


def _sentences(pruned: list[Pruned], removed: dict[str, int]) -> str:
    lines = [
        f"{each.name}: {each.removed} rows removed"
        + (f", kept in {each.export.path}" if each.export else "")
        for each in pruned
    ]
    lines += [f"{name.replace('_', ' ')}: {count} removed" for name, count in removed.items()]
    return "\n".join(lines)
