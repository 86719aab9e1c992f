"""The numbers of the wire, each with its unit and its source; no rule lives here."""

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT_MAX_ATTACHMENTS", "Limits"]

# socket.io-parser 4.2.7 refuses more than 10 attachments in one packet (`maxAttachments`).
DEFAULT_MAX_ATTACHMENTS: Final = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection grants its peer.

    Times are milliseconds, sizes are bytes of UTF-8 or of a binary frame, `None` means unbounded.
    """

    # Engine.IO v4 "Handshake" shows 25,000 and 20,000; the Node server has the same defaults.
    ping_interval_ms: int = 25_000
    ping_timeout_ms: int = 20_000
    # The specification's example and `maxHttpBufferSize` of the Node server: one megabyte, decimal.
    max_payload: int = 1_000_000
    # `connectTimeout` of the Node Socket.IO server: how long no namespace may be joined.
    connect_timeout_ms: int = 45_000
    # `upgradeTimeout` of the Node Engine.IO server: from the probing socket's opening to its `5`.
    upgrade_timeout_ms: int = 10_000
    max_attachments: int = DEFAULT_MAX_ATTACHMENTS
    # Neither the specification nor the Node server bounds joined plus pending namespaces.
    max_namespaces: int | None = None
