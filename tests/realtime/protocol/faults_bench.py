"""A connection of the core, and the fault that ends it."""

from collections.abc import Callable

from realtime.protocol import Closed, Connection, ProtocolError, engineio

Opener = Callable[..., Connection]
PLACEHOLDER = '{"_placeholder":true,"num":0}'


def kept(connection: Connection) -> tuple[object, ...]:
    """Return every piece of a peer's state that a connection can hold."""
    return (connection._partial, connection._pending, connection._memberships)


def closed_by(connection: Connection, *frames: engineio.Frame) -> type[ProtocolError] | None:
    """Send `frames`; return the fault by which the last one closed."""
    for frame in frames[:-1]:
        connection.receive_frame(frame, now=1.0)
        assert not connection.closed
    (closed,) = connection.receive_frame(frames[-1], now=1.0)
    assert isinstance(closed, Closed)
    assert kept(connection) == (None, set(), {})
    return closed.fault
