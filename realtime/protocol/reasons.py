"""Why a connection, or one namespace of it, ended: the words of the Node reference servers."""

from enum import StrEnum

__all__ = ["CloseReason"]


class CloseReason(StrEnum):
    """The first five are Engine.IO's, the others Socket.IO's; clients and logs know them."""

    TRANSPORT_ERROR = "transport error"
    TRANSPORT_CLOSE = "transport close"
    FORCED_CLOSE = "forced close"
    PING_TIMEOUT = "ping timeout"
    PARSE_ERROR = "parse error"
    CLIENT_NAMESPACE_DISCONNECT = "client namespace disconnect"
    SERVER_NAMESPACE_DISCONNECT = "server namespace disconnect"
    FORCED_SERVER_CLOSE = "forced server close"
    SERVER_SHUTTING_DOWN = "server shutting down"
