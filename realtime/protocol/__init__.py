"""An Engine.IO v4 and Socket.IO v5 server as a pure core: frames in, events out, no input/output.

It knows no hub, no transport, no clock. `Connection` is the whole of it for a shell, or
`EngineConnection` where only Engine.IO is spoken; the codecs `engineio` and `socketio` serve
broadcasts and polling bodies.
"""

from realtime.protocol import engineio, socketio
from realtime.protocol.connection import Connection, Namespaces
from realtime.protocol.engine import EngineConnection, Meter
from realtime.protocol.engineio import Frame
from realtime.protocol.errors import LocalProtocolError, ProtocolError
from realtime.protocol.events import (
    AckReceived,
    Closed,
    ConnectReceived,
    DisconnectReceived,
    Event,
    EventReceived,
    MessageReceived,
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
    "EngineConnection",
    "Event",
    "EventReceived",
    "Frame",
    "Frames",
    "Heartbeat",
    "Limits",
    "LocalProtocolError",
    "MessageReceived",
    "Meter",
    "Namespaces",
    "PongReceived",
    "ProtocolError",
    "Throttled",
    "UnknownAck",
    "engineio",
    "socketio",
]
