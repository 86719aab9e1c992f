"""``manage.py service``: accounts of engines and agents, and the rooms that agents hear.

``add``, ``rotate``, ``enable``, ``disable``, ``grant``, ``revoke`` and ``list``.
"""

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from security import audit, grants, services
from security.models import ServiceAccount

__all__ = ["Command"]


class Command(BaseCommand):
    """Manage services. Refusals are one sentence on standard error and exit code 1."""

    help = "Add, rotate, enable, disable or list engines and agents; grant rooms to agents."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        parsers = {}
        for name, text in (
            ("add", "Register a service and print its secret, once."),
            ("rotate", "Give a service a new secret, printed once; the old one ends now."),
            ("enable", "Let a service in again."),
            ("disable", "Shut a service out."),
            ("grant", "Let an agent hear rooms, and speak to the people there."),
            ("revoke", "Take rooms from an agent."),
        ):
            parsers[name] = action = actions.add_parser(name, help=text)
            action.add_argument("kind", choices=ServiceAccount.Kind.values)
            action.add_argument("name", help="1 to 64 of A-Z a-z 0-9 _ . -")
            action.add_argument("--json", action="store_true", help="Print one JSON object.")
        parsers["add"].add_argument(
            "--rooms", default="", metavar="ROOM[,ROOM]", help="what an agent hears: lobby,garden"
        )
        for name in ROOM_CHANGES:
            parsers[name].add_argument("rooms", nargs="+", metavar="ROOM")
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
            lines = self._change(**options)
        except services.ServiceRefused as error:
            raise CommandError(str(error)) from None
        detail = {"rooms": lines["rooms"]} if "rooms" in lines else None
        target = f"{options['kind']}:{options['name']}"
        audit.append(f"service_{PAST[action]}", target=target, detail=detail)
        if as_json:
            self.stdout.write(json.dumps(lines))
            return
        if action not in ROOM_CHANGES:
            self.stdout.write(f"{target} is {PAST[action]}.")
        if "rooms" in lines:
            self.stdout.write(f"{target} hears: {', '.join(lines['rooms']) or 'no room'}.")
        if "secret" in lines:
            self.stdout.write(f"Secret, shown only now: {lines['secret']}")

    def _change(
        self,
        *,
        action: str,
        kind: str,
        name: str,
        rooms: str | list[str] = "",
        **_options: Any,  # noqa: ANN401 - Django's own options
    ) -> dict[str, Any]:
        if action in ("enable", "disable"):
            account = (services.enable if action == "enable" else services.disable)(kind, name)
            return {"kind": account.kind, "name": account.name, "enabled": account.enabled}
        if action in ROOM_CHANGES:
            held = ROOM_CHANGES[action](kind, name, rooms)
            return {"kind": kind, "name": name, "rooms": held}
        if action == "rotate":
            return _shown(services.rotate(kind, name, time.time()))
        named = [room for room in str(rooms).split(",") if room]
        new = grants.add_with_rooms(kind, name, named) if named else services.add(kind, name)
        return {**_shown(new), **({"rooms": sorted(set(named))} if named else {})}

    def _list(self, kind: str, *, as_json: bool) -> None:
        found = [_facts(account) for account in services.accounts(kind).prefetch_related("grants")]
        if as_json:
            self.stdout.write(json.dumps({"services": found}))
            return
        for each in found:
            state = "enabled" if each["enabled"] else "disabled"
            self.stdout.write(
                f"{each['kind']}:{each['name']}  {state}  version {each['key_version']}  "
                f"master {each['kid']}  last token {each['last_token_at'] or 'never'}"
                + (f"  rooms {', '.join(each['rooms'])}" if each["rooms"] else "")
            )


ROOM_CHANGES = {"grant": grants.grant, "revoke": grants.revoke}
PAST = {
    "add": "added",
    "rotate": "rotated",
    "enable": "enabled",
    "disable": "disabled",
    "grant": "granted",
    "revoke": "revoked",
}


def _shown(new: services.NewSecret) -> dict[str, Any]:
    return {"kind": new.account.kind, "name": new.account.name, "secret": new.secret}


def _facts(account: ServiceAccount) -> dict[str, Any]:
    return {
        "kind": account.kind,
        "name": account.name,
        "enabled": account.enabled,
        "key_version": account.key_version,
        "kid": account.kid,
        "rooms": [each.room for each in account.grants.all()],
        "created_at": account.created_at.isoformat(),
        "last_token_at": account.last_token_at and account.last_token_at.isoformat(),
    }
