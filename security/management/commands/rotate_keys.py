"""``manage.py rotate_keys``: rings with a new first key, or without an old one."""

import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from security import audit, clock, rotation
from security.keys import DEVELOPMENT_FILE, KEY_VARIABLES

__all__ = ["Command"]


class Command(BaseCommand):
    """Exit code 0, or 1 with one sentence on standard error. What it prints are secrets."""

    help = (
        "Print HUB_MASTER_KEYS and HUB_JWT_KEYS with a new first key, or with --drop without an "
        "old one. Development keys are written to their file instead. Restart the hub afterwards."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--drop", metavar="KID", help="a key that signs no more")
        parser.add_argument("--force", action="store_true", help="drop it whoever depends on it")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        kid = options["drop"]
        facts = self._drop(kid, force=options["force"]) if kid else self._add()
        path = Path(settings.DATA_DIR) / DEVELOPMENT_FILE
        if path.exists() and not any(os.environ.get(name) for name in KEY_VARIABLES):
            rotation.rewrite(path, facts.pop("values"))
            facts["file"] = str(path)
        audit.append("key_dropped" if kid else "keys_rotated", target=f"kid:{kid or facts['kid']}")
        self._say(facts, as_json=options["json"])

    def _add(self) -> dict[str, Any]:
        kid = f"k{clock.moment(clock.now_ms()):%Y%m%d%H%M%S}"
        signing = settings.KEYS.master.signing.kid
        services = rotation.dependents(signing, now=clock.moment(clock.now_ms())).services
        return {
            "kid": kid,
            "values": rotation.new_rings(settings.KEYS, kid),
            "rotate_services": list(services),
        }

    def _drop(self, kid: str, *, force: bool) -> dict[str, Any]:
        try:
            values = rotation.rings_without(settings.KEYS, kid)
        except rotation.CannotDrop as refusal:
            raise CommandError(str(refusal)) from None
        lost = rotation.dependents(kid, now=clock.moment(clock.now_ms()))
        if lost.services and not force:
            names = ", ".join(lost.services)
            raise CommandError(f"Rotate these services first, or say --force: {names}.")
        return {
            "dropped": kid,
            "values": values,
            "sessions_ended": lost.sessions,
            "rotate_services": list(lost.services),
            "marks_sealed_anew": rotation.seal_anew(kid),
        }

    def _say(self, facts: dict[str, Any], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(facts))
            return
        for variable, value in facts.get("values", {}).items():
            self.stdout.write(f"{variable}={value}")
        if "file" in facts:
            self.stdout.write(f"Written to {facts['file']}.")
        self.stdout.write("Restart every process of the hub with these keys.")
        if "sessions_ended" in facts:
            self.stdout.write(f"{facts['sessions_ended']} login sessions end with the old key.")
        for name in facts["rotate_services"]:
            self.stdout.write(f"Then: manage.py service rotate {name.replace(':', ' ')}")
