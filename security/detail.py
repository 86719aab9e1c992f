"""What may stand in a record: text made visible, addresses made regular, details made small.

Records are read by staff, exported and chained. So text keeps no character that could act on a
terminal, a log or the direction of a line; a detail is JSON of at most 2 KiB that every database
gives back as it went in; and no secret is ever among its keys.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import islice
from typing import Final

__all__ = ["DETAIL_BYTES", "SecretInDetail", "bounded", "network_of", "regular_ip", "visible"]

DETAIL_BYTES: Final = 2 * 1024
"""The longest detail, as JSON in ASCII."""

SECRET_KEYS: Final = frozenset(
    {"token", "signature", "sig", "secret", "password", "payload", "access", "refresh"}
    | {"session_secret", "service_secret", "authorization"}
)
# Tried one after the other until the detail fits: characters of a text, items of a container.
SIZES: Final = ((400, 24), (120, 16), (40, 8), (16, 4))
DEEPEST: Final = 4
EXACT: Final = 2**53  # beyond this, JSON readers and databases disagree about numbers


class SecretInDetail(AssertionError):
    """Code of ours put something under a key that names a secret. A fault of ours, for tests."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(key)

    def __str__(self) -> str:
        return f"a record's detail must not hold {self.key!r}"


def visible(text: str, limit: int) -> str:
    """Text of at most ``limit`` characters in which nothing acts: escapes stand for the rest.

    Control, format, direction and surrogate characters, and every space but the plain one, are
    written as their escapes. Text that was cut ends with an ellipsis.
    """
    if text.isprintable() and len(text) <= limit:
        return text
    shown = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def regular_ip(text: str | None) -> str | None:
    """The one spelling of an address; v4 inside v6 becomes v4; None for what is no address."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(address.packed)  # without a zone
    return str(address)


@lru_cache(maxsize=4_096)
def network_of(ip: str | None) -> str:
    """Who an address stands for: itself for v4, its /64 for v6 (one customer), or ``unknown``."""
    address = regular_ip(ip)
    if address is None:
        return "unknown"
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def bounded(detail: Mapping[str, object]) -> dict[str, object]:
    """A JSON object of at most DETAIL_BYTES; ``"truncated": true`` where something was left out.

    Raises SecretInDetail for a key that names a secret. Keys must be chosen by our code, never by
    a peer.
    """
    for characters, items in SIZES:
        cutter = _Cutter(characters, items)
        shown = cutter.mapping(detail, 0)
        if cutter.cut:
            shown["truncated"] = True
        if len(json.dumps(shown)) <= DETAIL_BYTES:
            return shown
    return {"truncated": True}


class _Cutter:
    """One attempt at a small detail; ``cut`` tells whether anything was left out."""

    __slots__ = ("characters", "cut", "items")

    def __init__(self, characters: int, items: int) -> None:
        self.characters, self.items = characters, items
        self.cut = False

    def mapping(self, values: Mapping[str, object], depth: int) -> dict[str, object]:
        self.cut |= len(values) > self.items
        return {
            self._key(key): self._value(value, depth + 1)
            for key, value in islice(values.items(), self.items)
        }

    def _key(self, key: str) -> str:
        if str(key).lower() in SECRET_KEYS:
            raise SecretInDetail(str(key))
        return self._text(str(key))

    def _value(self, value: object, depth: int) -> object:
        if value is None or type(value) is bool:
            return value
        if isinstance(value, (int, float)):
            return _number(value)
        if depth < DEEPEST and isinstance(value, Mapping):
            return self.mapping(value, depth)
        if depth < DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
            self.cut |= len(value) > self.items
            return [self._value(each, depth + 1) for each in islice(value, self.items)]
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            self.cut = True
            return f"<{type(value).__name__} of {len(value)}>"
        return self._text(str(value))

    def _text(self, text: str) -> str:
        shown = visible(text, self.characters)
        self.cut |= shown.endswith("…")
        return shown


def _number(value: float) -> object:
    """A number that PostgreSQL's jsonb gives back unchanged, or its text."""
    if not math.isfinite(value) or abs(value) > EXACT:
        return hex(value)[:40] if isinstance(value, int) else repr(value)
    return int(value) if value == int(value) else float(value)
