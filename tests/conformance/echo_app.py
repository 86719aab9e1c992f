"""The server that public suites of the protocols expect, as an ASGI ``application``.

``/engine.io/`` echoes each message of Engine.IO, with no Socket.IO on it. ``/socket.io/`` has the
namespaces ``/`` and ``/custom``; both emit ``auth`` with the client's payload after the CONNECT
reply; ``/`` sends ``message`` back as ``message-back`` and acknowledges ``message-with-ack``. Run
it from the root of the repository:

    uvicorn tests.conformance.echo_app:application
    daphne tests.conformance.echo_app:application

``ECHO_PING_INTERVAL_MS``, ``ECHO_PING_TIMEOUT_MS`` and ``ECHO_CONNECT_TIMEOUT_MS`` are its times,
``ECHO_RECOVERY=1`` turns connection state recovery on. With ``ECHO_REDIS_URL`` processes serve
one another's sessions, and share that.
"""

import asyncio
import os
from typing import Any

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from realtime.engineserver import EngineServer, MessageSession
from realtime.namespaces import Ack, Namespace, Socket, on
from realtime.outbox import OutboxLimits
from realtime.protocol import Frame, Limits
from realtime.recovery import MemoryRecovery, Recovery
from realtime.redisrecovery import RedisRecovery
from realtime.server import Server

__all__ = ["application"]

REDIS_URL = os.environ.get("ECHO_REDIS_URL", "")
RELAY_KEY = b"every process of this fixture has this key" if REDIS_URL else None
LAYER = {
    "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}]},
}

if not settings.configured:  # Channels wants Django, the layer needs nothing of it
    settings.configure(
        SECRET_KEY="not a secret: nothing is signed here",
        ALLOWED_HOSTS=["*"],
        CHANNEL_LAYERS={"default": LAYER} if REDIS_URL else {},
    )
    django.setup()


# The public suite listens anew for each message. Two frames that reach Node's ``ws`` together are
# told in one go, before it listens for the second: Twisted, under Daphne, writes them together.
APART_S = 0.02


class Custom(Namespace[dict[str, Any]]):
    """Tells each client what it connected with."""

    name = "/custom"

    async def authorize(
        self, socket: Socket[dict[str, Any]], auth: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Everybody may come in."""
        return auth or {}

    async def joined(self, socket: Socket[dict[str, Any]]) -> None:
        """After the CONNECT reply."""
        await asyncio.sleep(APART_S)
        socket.emit("auth", socket.state)


class Main(Custom):
    """Echoes events and acknowledges them."""

    name = "/"

    @on("message")
    def message(self, socket: Socket[dict[str, Any]], *args: Any) -> None:
        """The same arguments come back as an event."""
        socket.emit("message-back", *args)

    @on("message-with-ack")
    def message_with_ack(self, socket: Socket[dict[str, Any]], *args: Any) -> Ack:
        """The same arguments come back as an acknowledgement."""
        return Ack(*args)


def echo(session: MessageSession, message: Frame) -> None:
    """Text as text, bytes as bytes."""
    session.send(message)


def milliseconds(name: str, default: int) -> int:
    """A time from the environment."""
    return int(os.environ.get(f"ECHO_{name}_MS", default))


def recovery() -> Recovery | None:
    """What a short break missed, where that is asked for."""
    if os.environ.get("ECHO_RECOVERY") != "1":
        return None
    return RedisRecovery(REDIS_URL) if REDIS_URL else MemoryRecovery()


limits = Limits(
    ping_interval_ms=milliseconds("PING_INTERVAL", 300),
    ping_timeout_ms=milliseconds("PING_TIMEOUT", 200),
    connect_timeout_ms=milliseconds("CONNECT_TIMEOUT", 1_000),
    max_payload=1_000_000,
)
# An echo owes its peer all that it was sent: several messages of the largest size.
outbox_limits = OutboxLimits(messages=4_096, size=32_000_000)
engine = EngineServer(
    on_message=echo, limits=limits, outbox_limits=outbox_limits, relay_key=RELAY_KEY
)
server = Server(
    namespaces=[Main(), Custom()],
    limits=limits,
    outbox_limits=outbox_limits,
    inbox_limit=4_096,  # what is sent while ``joined`` waits
    relay_key=RELAY_KEY,
    recovery=recovery(),
)

# Channels routes by Django's path(), whose types know only views.
application = ProtocolTypeRouter(
    {
        "http": URLRouter([path("engine.io/", engine.http), path("socket.io/", server.http)]),  # type: ignore[arg-type, list-item]
        "websocket": URLRouter(
            [path("engine.io/", engine.websocket), path("socket.io/", server.websocket)]  # type: ignore[arg-type, list-item]
        ),
    }
)
