"""``manage.py agent``: run the reference agent against a hub.

It says a word to people who click in a hurry and to those who have fallen still. The secret comes
from the environment, because arguments can be read by everybody on a machine. SIGTERM and Ctrl-C
end it with 0. Exit 1: no usable secret, a wrong option, or a hub that refuses the agent.
"""

import os
from argparse import ArgumentParser
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError

from realtime.agents.coach import Coach, Temper

if TYPE_CHECKING:
    from realtime.agents.client import Agent

__all__ = ["Command"]

SECRET_VARIABLE: Final = "HUB_AGENT_SECRET"  # noqa: S105 - the name of a variable
HELP: Final = {
    "clicks": "so many clicks in a hurry call for a word",
    "within_s": "seconds in which they are a hurry",
    "still_s": "seconds without an action after which somebody is still",
    "cooldown_s": "seconds between two words to one person",
}


class Command(BaseCommand):
    """Run the reference agent until it is told to stop."""

    help = f"Runs the reference agent. Its secret is read from {SECRET_VARIABLE}."
    requires_system_checks = ()  # an agent's machine has no database and no keys of the hub

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--url", required=True, help="address of the hub, http(s)://...")
        parser.add_argument("--name", required=True, help="name of the agent's service account")
        for each in fields(Temper):
            if each.name in HELP:
                parser.add_argument(
                    f"--{each.name.replace('_', '-')}",
                    type=type(each.default),
                    default=each.default,
                    help=f"{HELP[each.name]} (default: {each.default:g})",
                )

    def handle(self, *_args: str, **options: Any) -> None:  # noqa: ANN401 - Django's own signature
        """Run. Raises CommandError, which exits with 1."""
        if any(options[name] <= 0 for name in HELP):
            raise CommandError("Clicks and seconds are numbers above zero.")
        agent = _agent(options)
        self.stderr.write(f"Agent {options['name']} listens to {options['url']}; Ctrl-C ends it.")
        _run(agent)


def _agent(options: dict[str, Any]) -> "Agent":
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        raise CommandError(
            f"{SECRET_VARIABLE} is not set. It holds the secret that `manage.py service add agent "
            f"{options['name']}` printed."
        )
    try:
        from realtime.agents.reference import build_reference  # noqa: PLC0415 - an extra may be missing
    except ImportError as fault:
        raise CommandError(f"{fault}. Install interaction-hub[engine].") from fault
    coach = Coach(Temper(**{name: options[name] for name in HELP}))
    try:
        return build_reference(options["url"], options["name"], secret, coach=coach)
    except ValueError as fault:
        raise CommandError(str(fault)) from fault


def _run(agent: "Agent") -> None:
    from realtime.agents.errors import Unwelcome  # noqa: PLC0415 - as above

    try:
        agent.main()
    except Unwelcome as refusal:
        raise CommandError(str(refusal)) from refusal
