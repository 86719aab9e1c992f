"""Ids of Engine.IO sessions: secret, and where several processes share a key, naming their owner.

``<node id>.<random>.<mac>``: the mac keeps clients from aiming requests at a process they choose.
"""

import base64
import hmac
import secrets
from typing import Final

__all__ = ["Sids"]

RANDOM_BYTES: Final = 18
MAC_BYTES: Final = 12
PURPOSE: Final = b"engine.io session id\x00"


class Sids:
    """The ids of one process. Without a key they name nobody."""

    def __init__(self, node_id: str, key: bytes | None = None) -> None:
        self._node_id = node_id
        self._key = key

    def make(self) -> str:
        """A fresh id."""
        random = secrets.token_urlsafe(RANDOM_BYTES)
        if self._key is None:
            return random
        named = f"{self._node_id}.{random}"
        return f"{named}.{self._mac(self._key, named)}"

    def owner(self, sid: str) -> str | None:
        """The process that made an id; None if none of those that share the key did."""
        named, _, mac = sid.rpartition(".")
        if self._key is None or not sid.isascii():
            return None
        if not hmac.compare_digest(mac, self._mac(self._key, named)):
            return None
        return named.rpartition(".")[0]

    def _mac(self, key: bytes, named: str) -> str:
        digest = hmac.digest(key, PURPOSE + named.encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:MAC_BYTES]).decode()
