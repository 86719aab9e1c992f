"""Which pages of other origins may read answers to polling requests (CORS, the Fetch standard).

A WebSocket is not covered by it: that is the policy's business, on both transports alike.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

__all__ = ["Cors"]

Headers = list[tuple[bytes, bytes]]

PREFLIGHT_LIFE_S: Final = 600
METHODS: Final = b"GET, POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Allowed origins, each exactly as browsers send it; with ``credentials`` cookies may come."""

    origins: Collection[str]
    credentials: bool = False

    def headers(self, origin: str | None) -> Headers:
        """What every answer to a page of this origin carries, refusals included."""
        answer = [(b"vary", b"Origin")]
        if origin is None or origin not in self.origins:
            return answer
        answer.append((b"access-control-allow-origin", origin.encode("latin-1")))
        if self.credentials:
            answer.append((b"access-control-allow-credentials", b"true"))
        return answer

    def preflight(self, requested: str | None) -> Headers:
        """What the answer to an OPTIONS request carries besides."""
        answer = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_LIFE_S),
        ]
        if requested:
            answer.append((b"access-control-allow-headers", requested.encode("latin-1")))
        return answer
