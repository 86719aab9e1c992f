"""Messages that are not the hub's change nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from engine.sdk import Context, Engine, Job
from tests.engine.fake_hub import FakeHub, Running, engine_job, nothing


def _forged(hub: FakeHub) -> dict[str, Any]:
    return hub.seal("engine_job", engine_job("j1", "a1"), key=b"x" * 32)


def _of_another_type(hub: FakeHub) -> dict[str, Any]:
    return hub.seal("heartbeat_ack", engine_job("j1", "a1"))


def _changed(hub: FakeHub) -> dict[str, Any]:
    sealed = hub.seal("engine_job", engine_job("j1", "a1"))
    return sealed | {"payload": sealed["payload"] + " "}


def _late(hub: FakeHub) -> dict[str, Any]:
    return hub.seal("engine_job", engine_job("j1", "a1"), ts=hub.now_ms() - 31_000)


def _unsigned(_hub: FakeHub) -> dict[str, Any]:
    return engine_job("j1", "a1")


def _incomplete(hub: FakeHub) -> dict[str, Any]:
    return hub.seal("engine_job", {"job_id": "j1"})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_forged, "invalid_signature"),
        (_of_another_type, "invalid_signature"),
        (_changed, "invalid_signature"),
        (_late, "timestamp_expired"),
        (_unsigned, "malformed"),
        (_incomplete, "payload_invalid"),
    ],
)
async def test_a_message_that_is_not_the_hubs_is_dropped_and_counted(
    hub: FakeHub,
    engine: Engine,
    running: Running,
    make: Callable[[FakeHub], dict[str, Any]],
    reason: str,
) -> None:
    engine.job("BUILD_SCENE")(nothing)
    async with running(engine):
        await hub.hears("engine_ready")
        await hub.emit("engine_job", make(hub))
        await hub.submit("j2", "a2")  # messages keep their order, so the bad one is through
        done = await hub.hears("job_completed")
        assert len(hub.all("job_ack")) == 1
    assert done.body["job_id"] == "j2"
    assert engine.dropped == {reason: 1}


async def test_a_replayed_message_is_dropped(
    hub: FakeHub, engine: Engine, running: Running
) -> None:
    runs = []

    @engine.job("BUILD_SCENE")
    async def build(job: Job, _context: Context) -> None:
        runs.append(job.job_id)

    async with running(engine):
        await hub.hears("engine_ready")
        sealed = hub.seal("engine_job", engine_job("j1", "a1"))
        await hub.emit("engine_job", sealed)
        await hub.hears("job_completed")
        await hub.emit("engine_job", sealed)
        await hub.submit("j2", "a2")
        await hub.hears("job_completed", count=2)
    assert runs == ["j1", "j2"]
    assert engine.dropped == {"replay_detected": 1}
