"""The checks of what processes share, against a real Redis and the real channel layers."""

from collections.abc import Callable
from typing import Any

import pytest
from channels.layers import channel_layers
from django.core import checks as django_checks

from realtime.checks import check_channel_layer, check_redis
from tests.services import RedisServer

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
URL = "redis://127.0.0.1:6379/0"

UseLayer = Callable[..., None]


@pytest.fixture
def use_layer(settings: Any) -> UseLayer:
    def use(backend: str, **config: object) -> None:
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
        assert not channel_layers.backends  # a change of the setting forgets the old layer

    return use


def ids(found: list[django_checks.CheckMessage]) -> list[str | None]:
    return [each.id for each in found]


@pytest.mark.parametrize(
    "host",
    [URL, ("127.0.0.1", 6379), {"address": URL}, {"address": URL, "socket_timeout": 5}],
    ids=["url", "pair", "address", "too short"],
)
def test_a_layer_whose_connection_gives_up_first_is_refused(
    use_layer: UseLayer, host: object
) -> None:
    use_layer(CORE, hosts=[host])
    assert ids(check_channel_layer()) == ["hub.W052", "hub.E051"]


@pytest.mark.parametrize("timeout_s", [None, 30])
def test_a_layer_that_may_wait_is_only_warned_of(
    use_layer: UseLayer, timeout_s: float | None
) -> None:
    use_layer(CORE, hosts=[{"address": URL, "socket_timeout": timeout_s}])
    assert ids(check_channel_layer()) == ["hub.W052"]


def test_the_layers_of_the_hub_pass(use_layer: UseLayer) -> None:
    assert check_channel_layer() == []
    use_layer(PUBSUB, hosts=[{"address": URL, "socket_timeout": None}])
    assert check_channel_layer() == []


def test_a_redis_that_keeps_everything_passes(settings: Any, redis_server: RedisServer) -> None:
    settings.REDIS_URL = redis_server.url
    assert check_redis() == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_redis_that_evicts_is_warned_of(
    settings: Any, redis_server: RedisServer, policy: str
) -> None:
    settings.REDIS_URL = redis_server.url
    redis_server.config_set(maxmemory_policy=policy)
    (found,) = check_redis()
    assert (found.id, found.level) == ("hub.W053", django_checks.WARNING)
    assert policy in found.msg


def test_a_redis_that_does_not_answer_is_warned_of(
    settings: Any, redis_server: RedisServer
) -> None:
    settings.REDIS_URL = redis_server.url
    redis_server.kill()
    assert ids(check_redis()) == ["hub.W054"]


def test_without_redis_there_is_nothing_to_ask(settings: Any) -> None:
    settings.REDIS_URL = ""
    assert check_redis() == []


def test_the_checks_are_registered_and_redis_is_asked_for_deployment_only() -> None:
    known = django_checks.registry.registry
    assert check_channel_layer in known.get_checks()
    assert check_redis not in known.get_checks()
    assert check_redis in known.get_checks(include_deployment_checks=True)
