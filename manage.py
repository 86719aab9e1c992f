#!/usr/bin/env python
"""The hub's command line."""

import os
import sys

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


if __name__ == "__main__":
    main()
