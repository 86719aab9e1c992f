# noqa: INP001 - an example; servers import it by its path
"""A chat on the Socket.IO layer alone: nothing of the hub, one file, any Socket.IO client.

    uvicorn docs.examples.chat:application
    daphne docs.examples.chat:application

With REDIS_URL any number of processes serve it together, behind any round-robin proxy.
"""

import os
from typing import Any

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from realtime.namespaces import Ack, ConnectionRefused, Namespace, Socket, on
from realtime.protocol import Limits
from realtime.recovery import MemoryRecovery, Recovery
from realtime.server import Server

REDIS_URL = os.environ.get("REDIS_URL", "")
LAYER = {
    "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}]},
}
if not settings.configured:  # in a project of yours they are in settings.py
    settings.configure(
        SECRET_KEY="fifty characters that all processes share",  # noqa: S106 - an example
        CHANNEL_LAYERS={"default": LAYER} if REDIS_URL else {},
    )
    django.setup()

Auth = dict[str, Any] | None


async def not_banned(socket: Socket[Any], auth: Auth) -> None:
    """A middleware: asked at each CONNECT before the namespace itself; it may refuse."""
    if auth and auth.get("name") == "mallory":
        raise ConnectionRefused(
            "banned", {"code": "BANNED", "address": socket.session.handshake.peer}
        )


class Chat(Namespace[str]):  # the type of socket.state
    """What one instance of it serves is all sockets of ``/chat``."""

    name = "/chat"
    middlewares = (not_banned,)

    async def authorize(self, socket: Socket[str], auth: Auth) -> str:
        """CONNECT: return the socket's state, or refuse."""
        name = (auth or {}).get("name")
        if not isinstance(name, str):
            raise ConnectionRefused("who are you?", {"code": "NAME_MISSING"})
        return name

    def identity(self, socket: Socket[str]) -> str:
        """Who may go on with this session after a break: the same person only."""
        return socket.state

    async def joined(self, socket: Socket[str]) -> None:
        """The CONNECT reply is out; ``socket.recovered`` ones are in their rooms already."""
        if not socket.recovered:
            socket.join("lobby")
            socket.emit("welcome", socket.state)
            self.broadcast(["lobby"], "arrived", socket.state, without=[socket.id])

    @on("say")
    def say(self, socket: Socket[str], text: str) -> Ack:
        """A plain function where nothing is awaited; the Ack is sent to who asked for one."""
        self.broadcast(["lobby"], "said", socket.state, text, without=[socket.id])
        return Ack("delivered")

    @on("typing")
    def typing(self, socket: Socket[str]) -> None:
        """Volatile: dropped for whoever cannot take it at once."""
        self.broadcast(["lobby"], "typing", socket.state, without=[socket.id], volatile=True)

    @on("move")
    def move(self, socket: Socket[str], room: str) -> Ack:
        """Rooms are names; every socket is also in one by its own id."""
        for each in list(socket.rooms):
            socket.leave(each)
        socket.join(room)
        return Ack(sorted(socket.rooms))

    @on("quiz")
    async def quiz(self, socket: Socket[str], question: str) -> None:
        """A coroutine runs apart; what the same socket sends meanwhile waits its turn."""
        try:
            answer = await socket.call("question", question, timeout_s=1)
        except TimeoutError:
            answer = ["no answer"]
        self.emit("answered", socket.state, *answer)

    @on("bye", "quit")
    def bye(self, socket: Socket[str]) -> None:
        """``disconnect(close=True)`` would end the connection with all its namespaces."""
        socket.disconnect()

    @on("*")
    def anything_else(self, socket: Socket[str], event: str, *args: Any) -> Ack:  # noqa: ANN401 - whatever comes
        """Events that no other handler takes, or takes with so many arguments."""
        return Ack("unknown event", event, len(args))

    def left(self, socket: Socket[str], reason: str) -> None:
        """For one of the standard reasons; the rooms are left already."""
        self.broadcast(["lobby"], "gone", socket.state, reason)


recovery: Recovery = MemoryRecovery()
if REDIS_URL:  # which needs the extra ``redis``
    from realtime.redisrecovery import RedisRecovery

    recovery = RedisRecovery(REDIS_URL)
server = Server(
    namespaces=[Chat()],
    limits=Limits(max_payload=100_000),
    recovery=recovery,
    relay_key=settings.SECRET_KEY.encode(),
)
application = ProtocolTypeRouter(
    {
        "http": URLRouter([path("socket.io/", server.http)]),
        "websocket": URLRouter([path("socket.io/", server.websocket)]),
        "lifespan": server.lifespan,
    }
)
