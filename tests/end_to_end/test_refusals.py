"""Refusals of people and engines over a real socket: the code, the record, and nothing else.

Each test ends with a bystander who has noticed nothing.
"""

import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from realtime.client import HubClient
from tests.end_to_end.forest import forest
from tests.end_to_end.records import domain_rows, refusals_of
from tests.end_to_end.wire import EngineWire
from tests.hostile.raw import Raw
from tests.live import PASSWORD, LiveHub

pytestmark = pytest.mark.timeout(300)  # several processes start in it, on a busy machine slowly

A_MINUTE_MS = 60_000

Envelope = dict[str, Any]
Trick = Callable[[HubClient], Envelope]


@pytest.fixture
async def bystander(hub: LiveHub) -> AsyncIterator[HubClient]:
    """Grace, who is served before and after, on the same socket, and hears of no refused deed."""
    async with HubClient(hub.url) as client, HubClient(hub.url) as other:
        await client.sign_in("grace", PASSWORD)
        await other.sign_in("grace", PASSWORD)
        await client.connect()
        await other.connect()
        yield client
        said = secrets.token_hex(4)
        assert (await other.act("speak", {"text": said}))["ok"]
        update = await client.next("action_update")
        assert update["payload"] == {"text": said}  # the first one that came at all


@pytest.fixture
async def ada(hub: LiveHub, bystander: HubClient) -> AsyncIterator[HubClient]:
    async with HubClient(hub.url) as client:
        await client.sign_in("ada", PASSWORD)
        await client.connect()
        yield client


def forged(client: HubClient) -> Envelope:
    envelope = client.sign("speak", {"text": "forged"})
    first = "1" if envelope["sig"].startswith("0") else "0"
    return {**envelope, "sig": first + envelope["sig"][1:]}


def stale(client: HubClient) -> Envelope:
    return client.sign("speak", {"text": "old"}, ts=client.now_ms() - A_MINUTE_MS)


def foreign_action(client: HubClient) -> Envelope:
    return client.sign("spawn_entity", {"entity": forest()["entities"][0]})


def jobs_beside_the_spec(client: HubClient) -> Envelope:
    jobs = [{"job_type": "RUN_SHELL"}]
    return client.sign("generate_world", {"spec": forest(), "jobs": jobs})


def jobs_in_the_spec(client: HubClient) -> Envelope:
    return client.sign("generate_world", {"spec": {**forest(), "jobs": ["RUN_SHELL"]}})


def foreign_entity_type(client: HubClient) -> Envelope:
    spec = forest()
    spec["entities"][0]["type"] = "job"
    return client.sign("generate_world", {"spec": spec})


@dataclass(frozen=True)
class Case:
    """A trick and the code that it meets."""

    trick: Trick
    code: str


CASES = [
    Case(forged, "invalid_signature"),
    Case(stale, "timestamp_expired"),
    Case(foreign_action, "unknown_type"),
    Case(jobs_beside_the_spec, "schema_validation_failed"),
    Case(jobs_in_the_spec, "schema_validation_failed"),
    Case(foreign_entity_type, "schema_validation_failed"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.trick.__name__)
async def test_what_is_not_right_is_refused_once_recorded_once_and_changes_nothing(
    hub: LiveHub, ada: HubClient, case: Case
) -> None:
    principal = ada.session["principal"]
    before, recorded = domain_rows(hub), refusals_of(hub, principal)
    answer = await ada.send(case.trick(ada))
    assert not answer["ok"]
    assert answer["error"] == case.code
    assert refusals_of(hub, principal) == [*recorded, (case.code, 1)]
    assert domain_rows(hub) == before


async def test_a_used_nonce_is_refused_also_under_a_new_signature(
    hub: LiveHub, ada: HubClient
) -> None:
    principal = ada.session["principal"]
    world = ada.sign("generate_world", {"spec": forest()})
    assert (await ada.send(world))["ok"]
    before, recorded = domain_rows(hub), refusals_of(hub, principal)
    assert (await ada.send(world))["error"] == "replay_detected"
    again = ada.sign("generate_world", {"spec": forest()}, nonce=world["nonce"])
    assert (await ada.send(again))["error"] == "replay_detected"
    assert refusals_of(hub, principal) == [*recorded, *[("replay_detected", 1)] * 2]
    assert domain_rows(hub) == before


# Engines.


@pytest.fixture
async def engine(hub: LiveHub, bystander: HubClient) -> AsyncIterator[EngineWire]:
    name = f"engine-{secrets.token_hex(4)}"
    async with EngineWire(hub.url, name, hub.add_service(name)) as wire:
        await wire.begin()
        yield wire
        assert (await wire.say("engine_heartbeat", attempts=[]))["ok"]  # it is served as before


async def forged_by_engine(engine: EngineWire) -> Any:
    envelope = engine.seal("engine_heartbeat", {"attempts": []})
    return await engine.call("engine_heartbeat", {**envelope, "sig": "0" * 64})


async def stale_by_engine(engine: EngineWire) -> Any:
    late = engine.seal("engine_heartbeat", {"attempts": []}, late_ms=A_MINUTE_MS)
    return await engine.call("engine_heartbeat", late)


async def replayed_by_engine(engine: EngineWire) -> Any:
    envelope = engine.seal("engine_heartbeat", {"attempts": []})
    assert (await engine.call("engine_heartbeat", envelope))["ok"]
    return await engine.call("engine_heartbeat", envelope)


async def foreign_job_type_by_engine(engine: EngineWire) -> Any:
    return await engine.say("engine_ready", capacity=1, job_types=["RUN_SHELL"])


async def unknown_job_by_engine(engine: EngineWire) -> Any:
    return await engine.say("job_started", job_id="no-such-job", attempt_id="no-such-attempt")


@pytest.mark.parametrize(
    ("trick", "code"),
    [
        (forged_by_engine, "ENGINE_SIGNATURE_INVALID"),
        (stale_by_engine, "ENGINE_TIMESTAMP_EXPIRED"),
        (replayed_by_engine, "ENGINE_NONCE_REPLAY"),
        (foreign_job_type_by_engine, "PAYLOAD_INVALID"),
        (unknown_job_by_engine, "JOB_UNKNOWN"),
    ],
)
async def test_an_engine_is_refused_as_strictly_as_a_person(
    hub: LiveHub, engine: EngineWire, trick: Callable[[EngineWire], Any], code: str
) -> None:
    before = domain_rows(hub)
    assert (await trick(engine))["error"] == code
    assert refusals_of(hub, engine.principal) == [(code, 1)]
    assert domain_rows(hub) == before


async def test_an_illegal_transition_is_refused_and_the_job_goes_on_lawfully(
    hub: LiveHub, ada: HubClient, engine: EngineWire
) -> None:
    await engine.say("engine_ready", capacity=1, job_types=["BUILD_SCENE"])
    await ada.act("generate_world", {"spec": forest()})
    given = json.loads((await engine.next("engine_job"))["payload"])
    job = {"job_id": given["job_id"], "attempt_id": given["attempt_id"]}
    before = domain_rows(hub)

    answer = await engine.say("job_completed", **job, result={})
    assert answer["error"] == "INVALID_TRANSITION"
    assert (await engine.next("job_completed_rejected"))["reason"] == "INVALID_TRANSITION"
    assert refusals_of(hub, engine.principal) == [("INVALID_TRANSITION", 1)]
    assert domain_rows(hub) == before

    assert (await engine.say("job_ack", **job))["ok"]
    assert (await engine.say("job_started", **job))["ok"]
    assert (await engine.say("job_completed", **job, result={}))["ok"]


async def test_a_forwarded_address_that_nobody_vouches_for_is_ignored(hub: LiveHub) -> None:
    forged = {"Origin": "https://evil.example", "X-Forwarded-For": "203.0.113.9"}
    assert await Raw(hub.url, headers=forged).status() == 403
    assert [row["ip"] for row in hub.violations(kind="origin_forbidden")] == ["127.0.0.1"]
