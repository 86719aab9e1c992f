"""The reference engine builds real files over a real connection."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, cast

import numpy as np
import pytest
import trimesh

from engine.reference import BUILDS_REMEMBERED, _Builds, build_reference
from engine.sdk import Engine
from engine.thumbnail import thumbnail
from engine.worldspec import WorldSpec, plan
from tests.engine.fake_hub import NAME, QUICK, FakeHub


def spec(count: int = 3) -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "world": {"id": "world_a", "name": "A", "gravity": [0, -9.81, 0]},
        "scene": {"id": "scene_a", "ambientLight": [0.1, 0.1, 0.1], "skybox": "dusk"},
        "entities": [
            {
                "id": f"e{index}",
                "type": "object",
                "transform": {
                    "position": [index, 2, 3],
                    "rotation": [0, 45, 0],
                    "scale": [1, 1, 1],
                },
                "material": {"shader": "standard", "texture": "moss", "color": [0, 1, 0]},
                "components": {"mesh": "sphere", "collider": "sphere"},
            }
            for index in range(count)
        ],
    }


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    fake = FakeHub()
    await fake.start()
    yield fake
    await fake.stop()
    assert fake.faults == []


@pytest.fixture
async def engine(hub: FakeHub) -> AsyncIterator[Engine]:
    made = build_reference(hub.url, NAME, hub.secret, timing=QUICK)
    task = asyncio.create_task(made.run())
    await hub.hears("engine_ready")
    yield made
    made.stop(now=True)
    async with asyncio.timeout(10):
        await task


async def submit(hub: FakeHub, world: dict[str, Any], number: int, **changes: Any) -> None:
    """Send the `number`-th job of the world's plan, as the hub would."""
    job = plan(cast("WorldSpec", world))[number]
    carries = job.finish or number == 0
    fields = {
        "job_type": job.job_type.value,
        "payload": job.payload,
        "world_spec": world if carries else None,
        "world_sha256": sha256(json.dumps(world).encode()).hexdigest(),
        "execution_params": {"timeout_ms": 60_000, "finish": job.finish},
    }
    await hub.submit(f"j{number}", **({"attempt_id": f"a{number}"} | fields | changes))


def progress_of(hub: FakeHub, job_id: str) -> list[int]:
    return [
        said.body["progress"] for said in hub.all("job_progress") if said.body["job_id"] == job_id
    ]


async def test_a_whole_build_ends_in_a_file_that_a_reader_opens(
    hub: FakeHub, engine: Engine
) -> None:
    world = spec(3)
    for number in range(5):
        await submit(hub, world, number)
        await hub.hears("job_completed", count=number + 1)
    scene_done, assets_done, first, _, last = (
        said.body["result"] for said in hub.all("job_completed")
    )
    (kind, ids, data), picture = hub.uploads
    assert (kind, ids["build_id"], ids["job_id"]) == ("artifact", "b1", "j4")
    assert picture == ("thumbnail", {**ids, "kind": "thumbnail"}, thumbnail(cast("Any", world)))
    assert scene_done == {"scene": "scene_a", "entities": 3}
    assert assets_done["assets"] == 3
    assert first == {"node": "e0", "triangles": 528}
    assert last == {
        "nodes": 3,
        "triangles": 3 * 528,
        "bytes": len(data),
        "sha256": sha256(data).hexdigest(),
    }
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb")
    assert set(scene.graph.nodes_geometry) == {"e0", "e1", "e2"}
    assert np.allclose(scene.graph["e2"][0][:3, 3], [2, 2, 3])


async def test_the_finishing_job_alone_builds_the_same_file(hub: FakeHub, engine: Engine) -> None:
    world = spec(3)
    for number in range(5):
        await submit(hub, world, number)
        await hub.hears("job_completed", count=number + 1)
    await submit(hub, world, 4, attempt_id="again", build_id="b2")
    await hub.hears("job_completed", count=6)
    first, again = hub.uploads[:2], hub.uploads[2:]
    assert [data for _, _, data in first] == [data for _, _, data in again]


@pytest.mark.parametrize("number", [0, 4])
async def test_a_specification_that_is_only_named_is_fetched_and_checked(
    hub: FakeHub, engine: Engine, number: int
) -> None:
    world = spec(3)
    hub.specs["b1"] = json.dumps(world).encode()
    await submit(hub, world, number, world_spec=None)
    await hub.hears("job_completed")


async def test_a_specification_with_another_digest_fails_the_job(
    hub: FakeHub, engine: Engine
) -> None:
    world = spec(3)
    hub.specs["b1"] = json.dumps(spec(2)).encode()
    await submit(hub, world, 4, world_spec=None)
    failed = await hub.hears("job_failed")
    assert "SpecMismatch" in failed.body["error"]["message"]
    assert hub.uploads == []


async def test_progress_grows_with_the_work_and_ends_at_100(hub: FakeHub, engine: Engine) -> None:
    world = spec(200)
    await submit(hub, world, 201)
    await hub.hears("job_completed")
    seen = progress_of(hub, "j201")
    assert seen == sorted(set(seen))
    assert seen[-1] == 100


async def test_an_upload_that_fails_on_the_way_is_tried_again(hub: FakeHub, engine: Engine) -> None:
    hub.upload_answers = [
        (503, {}),
        (401, {"code": "auth_invalid"}),
        (429, {"code": "rate_limited"}),
    ]
    await submit(hub, spec(1), 2)
    await hub.hears("job_completed")
    assert [kind for kind, _, _ in hub.uploads] == ["artifact", "thumbnail"]
    assert len(hub.tokens) == 2  # the 401 asked for another one


async def test_an_upload_that_the_hub_refuses_fails_the_job(hub: FakeHub, engine: Engine) -> None:
    hub.upload_answers = [(409, {"code": "STALE_ATTEMPT", "message": "too late"})]
    await submit(hub, spec(1), 2)
    failed = await hub.hears("job_failed")
    assert "STALE_ATTEMPT" in failed.body["error"]["message"]


async def test_a_world_whose_picture_is_refused_is_built_all_the_same(
    hub: FakeHub, engine: Engine
) -> None:
    hub.upload_refusals["thumbnail"] = (400, {"code": "payload_invalid", "message": "no"})
    await submit(hub, spec(1), 2)
    await hub.hears("job_completed")
    assert [kind for kind, _, _ in hub.uploads] == ["artifact"]


async def test_a_slow_pace_can_be_aborted(hub: FakeHub) -> None:
    engine = build_reference(hub.url, NAME, hub.secret, pace=3600, timing=QUICK)
    task = asyncio.create_task(engine.run())
    await hub.hears("engine_ready")
    await submit(hub, spec(3), 0)
    await hub.hears("job_progress")
    await hub.send("job_abort", {"job_id": "j0", "attempt_id": "a0", "reason": "person"})
    failed = await hub.hears("job_failed")
    engine.stop()
    async with asyncio.timeout(10):
        await task
    assert failed.body["error"]["code"] == "cancelled"


def test_a_negative_pace_is_refused() -> None:
    with pytest.raises(ValueError, match="pace"):
        build_reference("http://localhost", NAME, "A" * 43, pace=-1)


def test_the_memory_of_builds_is_bounded_and_forgets_the_least_recent() -> None:
    builds = _Builds()
    first = builds.of("b0")
    for number in range(1, BUILDS_REMEMBERED):
        builds.of(f"b{number}")
    assert builds.of("b0") is first
    builds.of("one more")
    assert len(builds) == BUILDS_REMEMBERED
    assert builds.of("b0") is first
