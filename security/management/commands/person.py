"""``manage.py person add NAME``: a login for a person, or for a member of staff."""

import getpass
import json
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction
from django.db.models import Q

from security import audit
from security.models import User

__all__ = ["STAFF_GROUP", "Command"]

STAFF_GROUP = "Hub staff"
STAFF_PERMISSIONS = Q(codename__startswith="view_") | Q(
    codename__in=[
        "block_principal",
        "disconnect_connection",
        "end_session",
        "grant_rooms",
        "switch_serviceaccount",
    ]
)
STAFF_APPS = ("security", "realtime", "engine")


class Command(BaseCommand):
    """Add people. Refusals are one sentence on standard error and exit code 1."""

    help = "Add a person who can log in."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="Add a person.")
        add.add_argument("name", help="The name to log in with.")
        add.add_argument(
            "--password-stdin",
            action="store_true",
            help="Read the password from standard input; otherwise it is asked for twice on a "
            "terminal, or made up and printed.",
        )
        add.add_argument(
            "--staff", action="store_true", help=f'Staff, in the group "{STAFF_GROUP}".'
        )
        add.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        name, staff = options["name"], options["staff"]
        user = User(username=name, is_staff=staff)
        self._check_name(user)
        password, generated = self._password(user, options)
        user.set_password(password)
        try:
            with transaction.atomic():
                user.save()
                if staff:
                    user.groups.add(_staff_group())
        except IntegrityError:
            raise CommandError(_taken(name)) from None
        audit.append("person_added", target=f"user:{user.pk}", detail={"staff": staff})
        self._report(user, password if generated else None, as_json=options["json"])

    def _check_name(self, user: User) -> None:
        try:
            user.clean_fields(exclude=["password"])
        except ValidationError as error:
            reason = " ".join(error.messages)
            raise CommandError(f"{user.username!r} cannot be a name: {reason}") from None
        if User.objects.filter(username=user.username).exists():
            raise CommandError(_taken(user.username))

    def _password(self, user: User, options: dict[str, Any]) -> tuple[str, bool]:
        """The password, and whether it was made up here."""
        if options["password_stdin"]:
            return self._read_password(user), False
        if sys.stdin.isatty() and not options["json"]:
            return _ask_password(user), False
        return secrets.token_urlsafe(12), True

    def _read_password(self, user: User) -> str:
        """A script's choice is warned about, not refused, as with createsuperuser --noinput."""
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
        if not password or not password.isprintable():
            raise CommandError("Standard input must hold one line, the password.")
        try:
            validate_password(password, user)
        except ValidationError as error:
            self.stderr.write(f"Warning: {' '.join(error.messages)}")
        return password

    def _report(self, user: User, generated: str | None, *, as_json: bool) -> None:
        facts = {"username": user.username, "user_id": user.pk, "staff": user.is_staff}
        if generated is not None:
            facts["password"] = generated
        if as_json:
            self.stdout.write(json.dumps(facts))
            return
        self.stdout.write(f"Added {user.username} (id {user.pk}){', staff' * user.is_staff}.")
        if generated is not None:
            self.stdout.write(f"Password, shown only now: {generated}")


def _ask_password(user: User) -> str:
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Password (again): "):
        raise CommandError("The two passwords are not the same.")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    return password


def _staff_group() -> Group:
    """The group of staff, made on demand; it may see everything and end what must be ended."""
    group, _ = Group.objects.get_or_create(name=STAFF_GROUP)
    group.permissions.set(
        Permission.objects.filter(STAFF_PERMISSIONS, content_type__app_label__in=STAFF_APPS)
    )
    return group


def _taken(name: str) -> str:
    return f'There is already a person named "{name}".'
