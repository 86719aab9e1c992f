"""An Engine.IO v4 and Socket.IO v5 server as a pure core: frames in, events out, no input/output.

It knows no hub, no transport, no clock. `Connection` is the whole of it for a shell; the codecs
`engineio` and `socketio` serve broadcasts and polling bodies.
"""

from realtime.protocol import engineio, socketio
from realtime.protocol.connection import Connection, Meter, Namespaces
from realtime.protocol.engineio import Frame
from realtime.protocol.errors import LocalProtocolError, ProtocolError
from realtime.protocol.events import (
    AckReceived,
    Closed,
    ConnectReceived,
    DisconnectReceived,
    Event,
    EventReceived,
    PongReceived,
    Throttled,
    UnknownAck,
)
from realtime.protocol.heartbeat import Heartbeat
from realtime.protocol.limits import Limits
from realtime.protocol.reasons import CloseReason
from realtime.protocol.socketio import Frames

__all__ = [
    "AckReceived",
    "CloseReason",
    "Closed",
    "ConnectReceived",
    "Connection",
    "DisconnectReceived",
    "Event",
    "EventReceived",
    "Frame",
    "Frames",
    "Heartbeat",
    "Limits",
    "LocalProtocolError",
    "Meter",
    "Namespaces",
    "PongReceived",
    "ProtocolError",
    "Throttled",
    "UnknownAck",
    "engineio",
    "socketio",
]
