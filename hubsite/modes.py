"""Which mode a command runs in: who may use development keys, and who shows debug pages.

A process under ``serve`` or a foreign ASGI server is production unless DEBUG says otherwise.
Other commands are development, but only where no key variable is set: a machine that has real
keys must never fall back to made-up ones.
"""

from collections.abc import MutableMapping, Sequence

from security.keys import KEY_VARIABLES

__all__ = ["choose_mode"]

PRODUCTION_COMMANDS = frozenset({"serve"})
KEYS_WITHOUT_DEBUG = frozenset({"demo"})


def choose_mode(argv: Sequence[str], environ: MutableMapping[str, str]) -> None:
    """Set DEBUG (and, for the demo, the permission to make keys) unless the caller has."""
    command = argv[1] if len(argv) > 1 else ""
    configured = any(environ.get(name) for name in KEY_VARIABLES)
    if command in PRODUCTION_COMMANDS or configured:
        return
    if command in KEYS_WITHOUT_DEBUG:
        environ["DEBUG"] = "0"
        environ["HUB_DEVELOPMENT_KEYS"] = "1"
    else:
        environ.setdefault("DEBUG", "1")
