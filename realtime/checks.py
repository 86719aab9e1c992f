"""System checks of what processes share: the channel layer's settings, and Redis's own.

hub.E051    the channel layer gives up reading before its own wait is over
hub.W052    the channel layer loses its groups, and all sockets, when Redis restarts
hub.W053    Redis evicts keys, so that a used nonce may be forgotten while it still counts
hub.W054    Redis does not answer

Those that ask Redis belong to ``check --deploy``.
"""

from typing import Any, Final

from channels.layers import get_channel_layer
from channels_redis.core import RedisChannelLayer  # type: ignore[import-untyped]  # ships no types
from channels_redis.utils import create_pool  # type: ignore[import-untyped]  # as above
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, register
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from security.checks import see

__all__ = ["check_channel_layer", "check_redis", "eviction_policy"]

TIMEOUT_S: Final = 2.0
KEEPS_ALL: Final = "noeviction"


@register("hub")
def check_channel_layer(**_options: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """Refuse the settings with which idle consumers die (django/channels_redis#422)."""
    layer = get_channel_layer()
    if not isinstance(layer, RedisChannelLayer):
        return []
    found: list[CheckMessage] = [
        checks.Warning(
            "The channel layer closes every socket when Redis restarts.",
            hint=f"Use channels_redis.pubsub.RedisPubSubChannelLayer. {see('hub.W052')}",
            id="hub.W052",
        )
    ]
    if any(_gives_up(host, layer.brpop_timeout) for host in layer.hosts):
        found.append(
            checks.Error(
                f"The channel layer waits {layer.brpop_timeout} s for a message, and its "
                "connection gives up before: every idle consumer dies.",
                hint=f'Give each host of CHANNEL_LAYERS "socket_timeout": None. {see("hub.E051")}',
                id="hub.E051",
            )
        )
    return found


@register("hub", deploy=True)
def check_redis(**_options: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """Warn of a Redis that forgets what must be remembered."""
    if not settings.REDIS_URL:
        return []
    try:
        policy = eviction_policy(settings.REDIS_URL)
    except (RedisError, OSError) as error:
        return [
            checks.Warning(
                f"Redis does not answer: {type(error).__name__}.",
                hint=f"Each process then decides alone; look at REDIS_URL. {see('hub.W054')}",
                id="hub.W054",
            )
        ]
    if policy == KEEPS_ALL:
        return []
    return [
        checks.Warning(
            f"Redis evicts keys when it is full (maxmemory-policy is {policy}).",
            hint=(
                f"Set maxmemory-policy to {KEEPS_ALL}: a forgotten nonce can be used again. "
                f"{see('hub.W053')}"
            ),
            id="hub.W053",
        )
    ]


def eviction_policy(url: str) -> str:
    """What Redis does when it is full. Raises RedisError and OSError, within seconds.

    INFO tells it as well as CONFIG GET, which hosted servers often refuse.
    """
    waits: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    with Redis.from_url(url, retry=Retry(NoBackoff(), 0), **waits) as client:
        memory: dict[str, Any] = client.info("memory")
    return str(memory.get("maxmemory_policy", "unknown"))


def _gives_up(host: dict[str, Any], wait_s: float) -> bool:
    """Whether a connection as the layer makes it ends a read before the wait is over."""
    timeout_s: float | None = create_pool(host).make_connection().socket_timeout
    return timeout_s is not None and timeout_s <= wait_s
