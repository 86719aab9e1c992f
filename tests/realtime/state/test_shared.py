"""One value holds all shared state, whichever kind it is."""

import time

from realtime.state.shared import SharedState, shared_state
from security.conf import HubSettings
from tests.services import RedisServer
from tests.waiting import soon

SETTINGS = HubSettings()


async def uses_everything(state: SharedState, nonce: str) -> bool:
    now_ms = int(time.time() * 1_000)
    answer = state.nonces.consume(
        "user", "user:1", nonce, expires_at_ms=now_ms + 35_000, now_ms=now_ms
    )
    fresh = answer if isinstance(answer, bool) else await answer
    await state.leases.renew("a", ttl_ms=6_000)
    await state.leases.put("room:x", "s", "a")
    return fresh and len(await state.leases.entries("room:x")) == 1


async def test_a_hub_of_one_process_has_its_state_in_memory() -> None:
    state = shared_state("", SETTINGS)
    state.start()
    assert await uses_everything(state, "a" * 22)
    assert state.request_nonces is state.nonces
    assert not state.degraded
    await state.aclose()


async def test_an_address_of_redis_moves_all_of_it_there(redis_server: RedisServer) -> None:
    state = shared_state(redis_server.url, SETTINGS)
    state.start()
    assert await uses_everything(state, "a" * 22)
    kinds = {key.split(":")[1] for key in redis_server.call("KEYS", "hub:*")}
    assert {"pulse", "n", "l", "t", "h", "owners"} <= kinds
    redis_server.kill()
    await soon(lambda: state.degraded)
    await state.aclose()
