"""A Socket.IO server for Channels, in a few lines of an ``asgi.py``:

    server = Server(namespaces=[Chat()])
    pages = re_path("", get_asgi_application())
    application = ProtocolTypeRouter({
        "http": URLRouter([path("socket.io/", server.http), pages]),
        "websocket": URLRouter([path("socket.io/", server.websocket)]),
        "lifespan": server.lifespan,
    })

``Chat`` is a ``Namespace`` (see ``realtime.namespaces``). Any Socket.IO client of protocol 5 can
connect, by long-polling, by WebSocket, or moving from one to the other. It is general: what is
particular about the hub comes in as namespaces and a policy.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from realtime.consumers import WebSocketConsumer
from realtime.cors import Cors
from realtime.enginesessions import EngineSession
from realtime.handshake import Handshake
from realtime.lifespan import Lifespan
from realtime.namespaces import Namespace
from realtime.node import Companion, Node
from realtime.outbox import OutboxLimits
from realtime.policy import Policy
from realtime.polling import PollingConsumer
from realtime.protocol import Limits
from realtime.recovery import Recovery
from realtime.sessions import Session

__all__ = ["Server"]


class Server:
    """Namespaces, limits and a policy, mounted as the ASGI applications ``http`` and ``websocket``.

    The third one, ``lifespan``, says goodbye when the process ends; it is optional.

    ``namespaces``      the only ones that clients may join, one instance each
    ``limits``          the numbers of the wire: heartbeat, payload, connect and upgrade timeouts
    ``outbox_limits``   how much may wait for a client that does not read: then it is closed 4410
    ``inbox_limit``     events that may wait behind a handler; more are ``throttled``, not handled
    ``policy``          who may open a transport and how fast it may speak; by default everybody
    ``cors``            pages of other origins that may poll; by default none
    ``recovery``        connection state recovery: ``MemoryRecovery()`` for one process, or
                        ``RedisRecovery(url)`` for any number of them; by default off
    ``companions``      what else begins and ends with the process, such as ``Inquiries()``
    ``relay_key``       a secret that all processes of a site share: with it, and a channel layer
                        between them, any process takes any request, behind any round-robin proxy
    """

    def __init__(
        self,
        *,
        namespaces: Iterable[Namespace[Any]],
        limits: Limits | None = None,
        outbox_limits: OutboxLimits | None = None,
        inbox_limit: int = 256,
        policy: Policy | None = None,
        cors: Cors | None = None,
        recovery: Recovery | None = None,
        companions: Sequence[Companion] = (),
        relay_key: bytes | None = None,
    ) -> None:
        self.namespaces = {namespace.name: namespace for namespace in namespaces}
        self.limits = limits or Limits()
        self.outbox_limits = outbox_limits or OutboxLimits()
        self.inbox_limit = inbox_limit
        self.policy = policy or Policy()
        self.cors = cors
        self.recovery = recovery
        self.companions = companions
        self._relay_key = relay_key
        self._node: Node | None = None
        self.websocket = WebSocketConsumer.as_asgi(server=self)
        self.http = PollingConsumer.as_asgi(server=self)
        self.lifespan = Lifespan(self)

    @property
    def running(self) -> Node | None:
        """This process's node, if anybody has connected yet."""
        return self._node

    def node(self) -> Node:
        """This process's node, made at the first connection: Daphne has no ASGI lifespan."""
        if self._node is None or self._node.loop is not asyncio.get_running_loop():
            self._node = Node(
                namespaces=self.namespaces,
                limits=self.limits,
                outbox_limits=self.outbox_limits,
                inbox_limit=self.inbox_limit,
                policy=self.policy,
                opening=self.open,
                applications={"http": self.http, "websocket": self.websocket},
                recovery=self.recovery,
                companions=self.companions,
                relay_key=self._relay_key,
            )
            self._node.start()
        return self._node

    def open(self, node: Node, handshake: Handshake) -> EngineSession:
        """A new session of this server, on a node."""
        return Session(node, handshake)

    def refuse(self) -> None:
        """Begin no new session in this process; those that there are go on."""
        if self._node is not None:
            self._node.draining = True

    async def part(self, *, code: int = 1012, deadline_s: float = 5.0) -> None:
        """Say goodbye to everybody, and be of use only to last polls from here on.

        For who can do this while the process still listens; ``shutdown`` ends the rest.
        """
        if self._node is not None:
            await self._node.drain(code=code, deadline_s=deadline_s)
            await self._node.wind_up()

    async def shutdown(self, *, code: int = 1012, deadline_s: float = 5.0) -> None:
        """Say goodbye to whoever is left and end the node; nothing happens if there is none.

        Until then the node is there for last polls, also of sessions that others own, and whoever
        comes new meets one that lets nobody in.
        """
        node = self._node
        if node is not None:
            await self.part(code=code, deadline_s=deadline_s)
            try:
                await node.stop()
            finally:
                self._node = None
