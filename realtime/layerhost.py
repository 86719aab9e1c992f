"""A host of CHANNEL_LAYERS for Redis: its connections stay while they live, and end when they die.

    CHANNEL_LAYERS = {"default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [layer_host("redis://cache:6379/0")]},
    }}

redis-py takes the end of a vanished connection (ETIMEDOUT, which Python raises as TimeoutError) for
"no message yet", and the layer then asks again at once, for ever, without a pause in which anything
else of the process could run. The connections here call it by its name, and are made anew.
"""

import socket
from typing import Any, Final

from redis.asyncio.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import ConnectionError as ConnectionLost

__all__ = ["layer_host"]

# Without these a connection whose other end vanished (a host that lost power, a firewall that
# forgot it) is waited for a quarter of an hour, deaf and dumb. Not every system has all of them.
KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": 5,  # seconds of silence before the first probe
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 20_000,  # ms that what was sent may wait to be acknowledged
    }.items()
    if hasattr(socket, name)
}


class _KnowsItsEnd(Connection):
    """A connection that tells its own end from a wait without a message."""

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as redis-py
        """As redis-py. Raises ConnectionLost where nothing will ever come any more."""
        end = None if self._reader is None else self._reader.exception()
        if isinstance(end, TimeoutError):
            raise ConnectionLost(str(end)) from end
        return await super().read_response(*args, **kwargs)


class _Tls(_KnowsItsEnd, SSLConnection):
    """The same over TLS."""


def layer_host(url: str) -> dict[str, Any]:
    """The options of one host, at a ``redis:``, ``rediss:`` or ``unix:`` address; or ValueError."""
    # redis-py 8 ends idle reads after 5 s unless told otherwise (channels_redis#422)
    host: dict[str, Any] = {**parse_url(url), "socket_timeout": None}
    kind = host.get("connection_class")
    if kind is UnixDomainSocketConnection:
        return host  # its other end cannot vanish
    return {
        **host,
        "connection_class": _Tls if kind is SSLConnection else _KnowsItsEnd,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
    }
