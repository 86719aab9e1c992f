"""The channel layer's connections to Redis, and what becomes of one whose other end vanishes."""

import asyncio
import errno
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from realtime.layerhost import layer_host
from tests.services import RedisServer
from tests.waiting import soon

TURNS = 100


@pytest.fixture
async def layer(redis_server: RedisServer) -> AsyncIterator[Any]:
    made = RedisPubSubChannelLayer(hosts=[layer_host(redis_server.url)])
    yield made
    await made.flush()


@pytest.fixture
async def channel(layer: Any) -> str:
    name: str = await layer.new_channel()
    await layer.group_add("lobby", name)
    return name


def vanish(layer: Any) -> None:
    """What the system does when it gives up a connection: nobody acknowledges any more."""
    [shard] = layer._layers[asyncio.get_running_loop()]._shards
    connection = shard._pubsub.connection
    connection._writer.transport.abort()
    connection._reader.set_exception(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))


async def test_a_vanished_connection_is_made_anew_and_its_groups_are_heard_again(
    layer: Any, channel: str
) -> None:
    vanish(layer)
    heard = asyncio.ensure_future(layer.receive(channel))

    async def hears() -> bool:  # again and again: pub/sub keeps nothing for those who are away
        await layer.group_send("lobby", {"type": "hub", "said": "hello"})
        return heard.done()

    await soon(hears)
    assert heard.result() == {"type": "hub", "said": "hello"}


async def test_nothing_stands_still_while_a_connection_has_vanished(
    layer: Any, channel: str
) -> None:
    turns = 0

    def turn() -> bool:
        nonlocal turns
        turns += 1
        return turns > TURNS

    vanish(layer)
    await soon(turn)


@pytest.mark.parametrize(
    ("url", "kind", "probed"),
    [
        ("redis://cache:6379/1", Connection, True),
        ("rediss://cache:6379/1", SSLConnection, True),
        ("unix:///run/redis.sock?db=1", UnixDomainSocketConnection, False),
    ],
)
def test_an_address_says_how_to_connect(url: str, kind: type, probed: bool) -> None:
    host = layer_host(url)
    made = host.pop("connection_class")(**host)
    assert isinstance(made, kind)
    assert (made.db, made.socket_timeout) == (1, None)
    assert getattr(made, "socket_keepalive", False) is probed


def test_an_address_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://, rediss://, unix://"):
        layer_host("http://cache:6379")
