"""``manage.py service add|rotate|enable|disable|list``: accounts of engines and agents."""

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from security import audit, services
from security.models import ServiceAccount

__all__ = ["Command"]


class Command(BaseCommand):
    """Manage services. Refusals are one sentence on standard error and exit code 1."""

    help = "Add, rotate, enable, disable or list engines and agents."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, text in (
            ("add", "Register a service and print its secret, once."),
            ("rotate", "Give a service a new secret, printed once; the old one ends now."),
            ("enable", "Let a service in again."),
            ("disable", "Shut a service out."),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("kind", choices=ServiceAccount.Kind.values)
            action.add_argument("name", help="1 to 64 of A-Z a-z 0-9 _ . -")
            action.add_argument("--json", action="store_true", help="Print one JSON object.")
        listing = actions.add_parser("list", help="List services.")
        listing.add_argument(
            "kind", nargs="?", default="", choices=["", *ServiceAccount.Kind.values]
        )
        listing.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        action, as_json = options["action"], options["json"]
        if action == "list":
            self._list(options["kind"], as_json=as_json)
            return
        try:
            lines = self._change(action, options["kind"], options["name"])
        except services.ServiceRefused as error:
            raise CommandError(str(error)) from None
        audit.append(f"service_{PAST[action]}", target=f"{options['kind']}:{options['name']}")
        if as_json:
            self.stdout.write(json.dumps(lines))
            return
        self.stdout.write(f"{options['kind']}:{options['name']} is {PAST[action]}.")
        if "secret" in lines:
            self.stdout.write(f"Secret, shown only now: {lines['secret']}")

    def _change(self, action: str, kind: str, name: str) -> dict[str, Any]:
        if action in ("enable", "disable"):
            account = (services.enable if action == "enable" else services.disable)(kind, name)
            return {"kind": account.kind, "name": account.name, "enabled": account.enabled}
        new = (
            services.add(kind, name)
            if action == "add"
            else services.rotate(kind, name, time.time())
        )
        return {"kind": new.account.kind, "name": new.account.name, "secret": new.secret}

    def _list(self, kind: str, *, as_json: bool) -> None:
        found = [_facts(account) for account in services.accounts(kind)]
        if as_json:
            self.stdout.write(json.dumps({"services": found}))
            return
        for each in found:
            state = "enabled" if each["enabled"] else "disabled"
            self.stdout.write(
                f"{each['kind']}:{each['name']}  {state}  version {each['key_version']}  "
                f"master {each['kid']}  last token {each['last_token_at'] or 'never'}"
            )


PAST = {"add": "added", "rotate": "rotated", "enable": "enabled", "disable": "disabled"}


def _facts(account: ServiceAccount) -> dict[str, Any]:
    return {
        "kind": account.kind,
        "name": account.name,
        "enabled": account.enabled,
        "key_version": account.key_version,
        "kid": account.kid,
        "created_at": account.created_at.isoformat(),
        "last_token_at": account.last_token_at and account.last_token_at.isoformat(),
    }
