#!/usr/bin/env python
"""The hub's command line."""

import os
import sys

from django.db import OperationalError, ProgrammingError

from hubsite.modes import choose_mode
from security.conf import BadSetting
from security.keys import BadKey


def main() -> None:
    """Settle the mode of this process before the settings are read, then run the command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hubsite.settings")
    choose_mode(sys.argv, os.environ)
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - settings first

    try:
        execute_from_command_line(sys.argv)
    except (BadKey, BadSetting) as fault:
        sys.exit(f"The hub does not start. {fault}")
    except (OperationalError, ProgrammingError) as fault:
        sys.exit(f"The database does not serve: {fault}. Is it there, and up to date (migrate)?")
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
