"""A server of bare Engine.IO, without Socket.IO on it: messages in, messages out.

    def echo(session, message):
        session.send(message)

    server = EngineServer(on_message=echo)

It has the transports, the upgrade, the heartbeat and the limits of ``realtime.server.Server``, and
is mounted in the same way.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from realtime.enginesessions import EngineSession, Routes
from realtime.handshake import Handshake
from realtime.node import Node
from realtime.protocol import Closed, Frame, MessageReceived, PongReceived, engineio
from realtime.server import Server

__all__ = ["EngineServer", "MessageSession"]

OnMessage = Callable[["MessageSession", Frame], None]


class MessageSession(EngineSession):
    """One client's session; text and bytes are told apart."""

    def __init__(self, node: Node, handshake: Handshake, on_message: OnMessage) -> None:
        super().__init__(node, handshake)
        self._on_message = on_message

    def send(self, message: Frame) -> None:
        """Send a message; dropped when the session is over."""
        self.connection.send_encoded([engineio.encode(engineio.PacketType.MESSAGE, message)])
        self.flush()

    def on_received(self, event: MessageReceived) -> None:
        """A message has come."""
        self._on_message(self, event.data)

    _routes: ClassVar[Routes] = {
        MessageReceived: on_received,
        PongReceived: EngineSession.on_pong,
        Closed: EngineSession.on_closed,
    }


class EngineServer(Server):
    """``on_message(session, message)`` is called for each; it must not wait.

    ``options`` are those of ``Server``, but for its namespaces.
    """

    def __init__(self, *, on_message: OnMessage, **options: Any) -> None:  # noqa: ANN401 - as Server
        super().__init__(namespaces=(), **options)
        self._on_message = on_message

    def open(self, node: Node, handshake: Handshake) -> EngineSession:
        """A new session of this server, on a node."""
        return MessageSession(node, handshake, self._on_message)
