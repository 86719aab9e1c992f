"""Key rings: which key signs, which keys verify, and where development keys come from.

A ring is written ``kid:base64url[,kid:base64url]``: the first key signs, all verify. Keys are
exactly 32 random bytes. This module reads variables and one file; it derives nothing
(``security.signatures`` does)::

    BadKey         a variable is missing, or is not what it should be
    |-- WeakKey    too short, or typed by somebody
    '-- ReusedKey  one key for two purposes
"""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from security.signatures import BadBase64Url, from_base64url, to_base64url

__all__ = [
    "DEVELOPMENT_FILE",
    "KEY_VARIABLES",
    "BadKey",
    "Key",
    "KeyRing",
    "Keys",
    "ReusedKey",
    "WeakKey",
    "faults",
    "load_keys",
]

KEY_BYTES = 32
KEY_VARIABLES = ("DJANGO_SECRET_KEY", "HUB_MASTER_KEYS", "HUB_JWT_KEYS")
DEVELOPMENT_FILE = "development_keys.json"
KID = re.compile(r"[A-Za-z0-9_-]{1,32}")
SHORTEST_SECRET_KEY = 32  # characters; token_urlsafe(32) gives 43


class BadKey(Exception):
    """A key is missing or malformed."""

    def __init__(self, variable: str, reason: str) -> None:
        self.variable, self.reason = variable, reason
        super().__init__(variable, reason)

    def __str__(self) -> str:
        return f"{self.variable}: {self.reason}"


class WeakKey(BadKey):
    """A key is too short, or no random bytes."""


class ReusedKey(BadKey):
    """A key serves two purposes."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key and its public name."""

    kid: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.kid!r}, <secret>)"


class KeyRing:
    """Keys by kid; the first one signs, all verify."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = {key.kid: key for key in keys}
        self.signing = keys[0]

    def get(self, kid: str) -> Key | None:
        """The key of that name, or None: a kid from the wire is only ever looked up here."""
        return self._keys.get(kid)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)


@dataclass(frozen=True, slots=True)
class Keys:
    """Everything secret that a process holds."""

    django: str
    master: KeyRing
    jwt: KeyRing

    def __repr__(self) -> str:
        return "Keys(<secret>)"


def load_keys(environ: Mapping[str, str], data_dir: Path, *, development: bool) -> Keys:
    """Keys from the environment, or, for development only, from a file made on first start.

    Raises BadKey naming the variable. The development file is used only where none of the
    key variables is set, so that a half-configured deployment fails instead of mixing keys.
    """
    if development and not any(environ.get(name) for name in KEY_VARIABLES):
        environ = _development_keys(data_dir / DEVELOPMENT_FILE)
    keys = Keys(
        django=environ.get("DJANGO_SECRET_KEY", ""),
        master=_ring(environ, "HUB_MASTER_KEYS"),
        jwt=_ring(environ, "HUB_JWT_KEYS"),
    )
    for fault in faults(keys):
        raise fault
    return keys


def faults(keys: Keys) -> Iterator[BadKey]:
    """What is wrong with keys, wherever they come from."""
    if len(keys.django) < SHORTEST_SECRET_KEY or len(set(keys.django)) < 5:  # noqa: PLR2004 - as Django's check security.W009
        yield WeakKey("DJANGO_SECRET_KEY", "is missing, short or a template")
    rings = {"HUB_MASTER_KEYS": keys.master, "HUB_JWT_KEYS": keys.jwt}
    for variable, ring in rings.items():
        for key in ring:
            if len(key.secret) != KEY_BYTES:
                size = len(key.secret)
                yield WeakKey(variable, f"key {key.kid} has {size} bytes, not {KEY_BYTES}")
            elif len(set(key.secret)) < KEY_BYTES // 4 or _is_text(key.secret):
                yield WeakKey(variable, f"key {key.kid} is a template, not random bytes")
    secrets_in_use = [key.secret for ring in rings.values() for key in ring]
    secrets_in_use.append(_bytes_of(keys.django))
    if len(set(secrets_in_use)) != len(secrets_in_use):
        yield ReusedKey("HUB_MASTER_KEYS", "shares a key with another purpose")


def _ring(environ: Mapping[str, str], variable: str) -> KeyRing:
    text = environ.get(variable, "")
    if not text.strip():
        raise BadKey(variable, "is not set (kid:base64url[,kid:base64url], 32 random bytes each)")
    keys = tuple(_key(variable, part.strip()) for part in text.split(","))
    if len({key.kid for key in keys}) != len(keys):
        raise BadKey(variable, "names a kid twice")
    return KeyRing(keys)


def _key(variable: str, text: str) -> Key:
    kid, _, encoded = text.partition(":")
    if not KID.fullmatch(kid):
        raise BadKey(variable, "has an entry that is not kid:base64url")
    try:
        secret = from_base64url(encoded.rstrip("="))
    except BadBase64Url:
        raise BadKey(variable, f"key {kid} is not base64url") from None
    return Key(kid, secret)


def _bytes_of(text: str) -> bytes:
    """What a text stands for: the key that it encodes, or itself."""
    try:
        decoded = from_base64url(text.rstrip("="))
    except BadBase64Url:
        return text.encode()
    return decoded if len(decoded) == KEY_BYTES else text.encode()


def _is_text(secret: bytes) -> bool:
    """32 random bytes are all printable ASCII with a chance of 1 in 10^13: somebody typed these."""
    return all(0x20 <= byte < 0x7F for byte in secret)  # noqa: PLR2004 - the printable ASCII range


def _development_keys(path: Path) -> Mapping[str, str]:
    with contextlib.suppress(FileExistsError):
        _make_development_keys(path)
    loaded: dict[str, str] = json.loads(path.read_text("utf-8"))
    return loaded


def _make_development_keys(path: Path) -> None:
    """Write a complete file under a private name, then link it: a reader never sees half of it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(64),
        "HUB_MASTER_KEYS": f"dev1:{to_base64url(secrets.token_bytes(KEY_BYTES))}",
        "HUB_JWT_KEYS": f"dev1:{to_base64url(secrets.token_bytes(KEY_BYTES))}",
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        os.link(draft, path)
    finally:
        draft.unlink()
