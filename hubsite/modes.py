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
    """Set what the settings read: DEBUG, the data directory, the permission to make keys."""
    command = argv[1] if len(argv) > 1 else ""
    if data_dir := _option(argv, "--data-dir"):
        environ["HUB_DATA_DIR"] = data_dir
    configured = any(environ.get(name) for name in KEY_VARIABLES)
    if command in PRODUCTION_COMMANDS or configured:
        return
    if command in KEYS_WITHOUT_DEBUG:
        environ["DEBUG"] = "0"
        environ["HUB_DEVELOPMENT_KEYS"] = "1"
    else:
        environ.setdefault("DEBUG", "1")


def _option(argv: Sequence[str], name: str) -> str:
    """An option's value, read before Django can: the settings depend on it."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        if argument == name:
            return following
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return ""
