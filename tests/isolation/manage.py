"""manage.py of a hub with handlers that fail: for the tests of what one socket does to others.

``explode`` raises, ``stall`` never answers, ``stall_in_database`` holds a thread of the database
for a while. RECHECK_S shortens how long it takes until a process looks who of those who are
connected may still be.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import django
from django.core.management import execute_from_command_line

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hubsite.modes import choose_mode


def explode(_socket: Any, _action: Any) -> Any:
    raise ZeroDivisionError("a handler's own fault")


async def stall(_socket: Any, _action: Any) -> Any:
    await asyncio.Event().wait()


async def stall_in_database(_socket: Any, _action: Any) -> Any:
    from security import database  # noqa: PLC0415 - the settings come first
    from security.conf import hub  # noqa: PLC0415 - as above

    await database.read(time.sleep, hub().database_deadline_s * 0.4)
    return {}


def with_failing_actions() -> None:
    """Add the failing types to those of the site."""
    from hubsite import composition  # noqa: PLC0415 - the settings come first
    from realtime.actions import ActionType  # noqa: PLC0415 - as above
    from security.gate import PayloadRule  # noqa: PLC0415 - as above

    genuine: Any = composition.world_actions

    def more(coordinator: Any, settings: Any) -> Any:
        rule = PayloadRule(max_bytes=settings.action_payload)
        failing: list[Any] = [explode, stall, stall_in_database]
        own = {
            each.__name__: ActionType(name=each.__name__, rule=rule, handler=each)
            for each in failing
        }
        return {**genuine(coordinator, settings), **own}

    composition.world_actions = more  # type: ignore[attr-defined]  # a name of that module


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hubsite.settings")
    choose_mode(sys.argv, os.environ)
    django.setup()
    from realtime import kicks  # noqa: PLC0415 - the settings come first

    kicks.RECHECK_S = float(os.environ.get("RECHECK_S", kicks.RECHECK_S))  # type: ignore[misc]  # a constant, except here
    with_failing_actions()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
