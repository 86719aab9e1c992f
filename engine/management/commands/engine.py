"""`manage.py engine`: run the reference engine against a hub.

The secret comes from the environment, because arguments can be read by everybody on a machine. On
SIGTERM or Ctrl-C the engine takes no more jobs, finishes those that run and exits with 0; a second
signal gives them up. Exit 1: no usable secret, a wrong option, or a hub that refuses the engine.
"""

import os
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from engine.sdk import Engine

SECRET_VARIABLE: Final = "HUB_ENGINE_SECRET"  # noqa: S105 - the name of a variable


class Command(BaseCommand):
    """Run the reference engine until it is told to stop."""

    help = f"Runs the reference engine. Its secret is read from {SECRET_VARIABLE}."
    requires_system_checks = ()  # an engine's machine has no database and no keys of the hub

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--url", required=True, help="address of the hub, http(s)://...")
        parser.add_argument("--name", required=True, help="name of the engine's service account")
        parser.add_argument("--capacity", type=int, default=4, help="jobs at once (default: 4)")
        parser.add_argument(
            "--pace", type=float, default=0.0, help="seconds added to each job, to watch it work"
        )

    def handle(self, *_args: str, **options: Any) -> None:  # noqa: ANN401 - Django's own signature
        """Run. Raises `CommandError`, which exits with 1."""
        engine = _engine(options)
        self.stderr.write(f"Engine {options['name']} serves {options['url']}; Ctrl-C drains it.")
        _run(engine)


def _engine(options: dict[str, Any]) -> "Engine":
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        raise CommandError(
            f"{SECRET_VARIABLE} is not set. It holds the secret that `manage.py service add engine "
            f"{options['name']}` printed."
        )
    try:
        from engine.reference import build_reference  # noqa: PLC0415 - an extra may be missing
    except ImportError as fault:
        raise CommandError(f"{fault}. Install interaction-hub[engine].") from fault
    try:
        return build_reference(
            options["url"],
            options["name"],
            secret,
            pace=options["pace"],
            capacity=options["capacity"],
        )
    except ValueError as fault:
        raise CommandError(str(fault)) from fault


def _run(engine: "Engine") -> None:
    from engine.sdk import HubRefused  # noqa: PLC0415 - as above

    try:
        engine.main()
    except HubRefused as refusal:
        raise CommandError(str(refusal)) from refusal
