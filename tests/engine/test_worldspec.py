"""A specification becomes exactly the jobs of the design; what a schema cannot say is found."""

import copy
from typing import Any, cast

import pytest

from engine.worldspec import JOB_TYPES, Finding, JobType, PlannedJob, WorldSpec, beyond_schema, plan


def entity(name: str, mesh: str = "box", texture: str = "brick") -> Any:
    return {
        "id": name,
        "type": "object",
        "transform": {"position": [0, 1.5, 0], "rotation": [0, 0, 0], "scale": [1, 1, 1]},
        "material": {"shader": "standard", "texture": texture, "color": [1, 0.5, 0]},
        "components": {"mesh": mesh, "collider": "box"},
    }


def world(*entities: dict[str, Any], **more: Any) -> WorldSpec:
    spec = {
        "schema_version": "1.0",
        "world": {"id": "world_1", "name": "One", "gravity": [0, -9.81, 0]},
        "scene": {"id": "scene_1", "ambientLight": [0.1, 0.2, 0.3], "skybox": "dusk"},
        "entities": list(entities),
    }
    return cast("WorldSpec", spec | more)


def quest(name: str, trigger: str) -> dict[str, str]:
    return {"id": name, "triggerEntity": trigger, "goal": "Find the door."}


def test_a_world_of_one_entity_has_one_job_per_stage() -> None:
    only = entity("door")
    assert plan(world(only)) == [
        PlannedJob(
            JobType.BUILD_SCENE,
            0,
            {
                "scene_id": "scene_1",
                "ambient_light": [0.1, 0.2, 0.3],
                "skybox": "dusk",
                "gravity": [0, -9.81, 0],
            },
        ),
        PlannedJob(JobType.LOAD_ASSETS, 1, {"assets": ["box", "brick", "dusk"]}),
        PlannedJob(JobType.SPAWN_ENTITY, 2, {"entity": only}, finish=True),
    ]


def test_twelve_entities_make_fourteen_jobs_of_which_the_last_finishes() -> None:
    jobs = plan(world(*(entity(f"e{number}") for number in range(12))))
    assert [job.stage for job in jobs] == [0, 1, *[2] * 12]
    spawned = [cast("Any", job.payload)["entity"]["id"] for job in jobs[2:]]
    assert spawned == [f"e{number}" for number in range(12)]
    assert [job.finish for job in jobs] == [False] * 13 + [True]


def test_assets_are_sorted_and_named_once_whatever_uses_them() -> None:
    spec = world(
        entity("a", "sphere", "wood"), entity("b", "box", "wood"), entity("c", "dusk", "box")
    )
    assert plan(spec)[1].payload == {"assets": ["box", "dusk", "sphere", "wood"]}


def test_the_same_world_makes_the_same_jobs_and_stays_as_it_was() -> None:
    spec = world(entity("a"), entity("b"), quests=[quest("quest_a", "a")])
    before = copy.deepcopy(spec)
    assert plan(spec) == plan(before)
    assert spec == before


def test_the_job_types_are_the_three_of_the_contract() -> None:
    assert {"BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY"} == JOB_TYPES


def test_a_good_world_has_no_findings() -> None:
    assert beyond_schema(world(entity("a"))) == []
    assert beyond_schema(world(entity("a"), entity("b"), quests=[quest("quest_a", "b")])) == []


@pytest.mark.parametrize(
    ("spec", "findings"),
    [
        (
            world(entity("a"), entity("b"), entity("a"), entity("a")),
            [
                Finding("$.entities[2].id", "'a' is already the id of $.entities[0]"),
                Finding("$.entities[3].id", "'a' is already the id of $.entities[0]"),
            ],
        ),
        (
            world(entity("a"), quests=[quest("quest_a", "a"), quest("quest_a", "a")]),
            [Finding("$.quests[1].id", "'quest_a' is already the id of $.quests[0]")],
        ),
        (
            world(entity("a"), quests=[quest("quest_a", "a"), quest("quest_b", "ghost")]),
            [Finding("$.quests[1].triggerEntity", "there is no entity with the id 'ghost'")],
        ),
    ],
    ids=["entity twice", "quest twice", "unknown trigger"],
)
def test_what_a_schema_cannot_say_is_found_with_its_path(
    spec: WorldSpec, findings: list[Finding]
) -> None:
    assert beyond_schema(spec) == findings
