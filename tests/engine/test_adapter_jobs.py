"""Of all jobs only the three types with their own payloads pass the check before dispatch."""

import json
from typing import Any

import pytest

from engine.adapter import JobRefused, admit, check_job
from engine.worldspec import JobType

ENTITY: dict[str, Any] = {
    "id": "door",
    "type": "object",
    "transform": {"position": [0, 0, 0], "rotation": [0, 90, 0], "scale": [1, 1, 1]},
    "material": {"shader": "standard", "texture": "oak", "color": [1, 1, 1]},
    "components": {"mesh": "box", "collider": "box"},
}
SCENE: dict[str, Any] = {
    "scene_id": "scene_1",
    "ambient_light": [0.1, 0.2, 0.3],
    "skybox": "dusk",
    "gravity": [0, -9.81, 0],
}
JOBS: list[tuple[JobType, dict[str, Any]]] = [
    (JobType.BUILD_SCENE, SCENE),
    (JobType.LOAD_ASSETS, {"assets": ["box", "dusk", "oak"]}),
    (JobType.SPAWN_ENTITY, {"entity": ENTITY}),
]
WORLD = {
    "schema_version": "1.0",
    "world": {"id": "world_1", "name": "One", "gravity": SCENE["gravity"]},
    "scene": {"id": "scene_1", "ambientLight": SCENE["ambient_light"], "skybox": "dusk"},
    "entities": [ENTITY],
}


def test_the_jobs_of_an_admitted_world_pass_also_after_their_way_through_a_database() -> None:
    planned = admit(WORLD).jobs
    assert [(job.job_type, job.payload) for job in planned] == JOBS
    for job in planned:
        check_job(job.job_type, job.payload)
        check_job(job.job_type.value, json.loads(json.dumps(job.payload)))


@pytest.mark.parametrize(
    "job_type",
    ["build_scene", " BUILD_SCENE", "BUILD_SCENE ", "BUILD_SCENE\n", "BUILD_SCENE\0", "Build_Scene",
     "\u0412UILD_SCENE", "DELETE_SCENE", "", None, 0, True, ["BUILD_SCENE"],
     {"job_type": "BUILD_SCENE"}, b"BUILD_SCENE"],
    ids=ascii,
)  # fmt: skip
def test_a_job_type_is_one_of_three_exactly_as_spelled(job_type: object) -> None:
    with pytest.raises(JobRefused) as seen:
        check_job(job_type, SCENE)
    assert str(seen.value) == (
        "job refused: $.job_type: the type is none of BUILD_SCENE, LOAD_ASSETS, SPAWN_ENTITY"
    )


@pytest.mark.parametrize("job_type", JobType)
@pytest.mark.parametrize(("owner", "payload"), JOBS, ids=str)
def test_a_payload_fits_its_own_type_only(owner: JobType, payload: Any, job_type: JobType) -> None:
    if owner is job_type:
        check_job(job_type, payload)
    else:
        with pytest.raises(JobRefused):
            check_job(job_type, payload)


@pytest.mark.parametrize(("job_type", "payload"), JOBS, ids=str)
def test_a_payload_is_closed_and_complete(job_type: JobType, payload: Any) -> None:
    broken: list[Any] = [
        payload | {"path": "x"},
        None,
        [payload],
        json.dumps(payload),
        {},
        {"x": {1}},
    ]
    broken += [{key: value for key, value in payload.items() if key != gone} for gone in payload]
    broken += [payload | {key: wrong} for key in payload for wrong in (None, "../x", [], 1e308)]
    for bad in broken:
        with pytest.raises(JobRefused) as seen:
            check_job(job_type, bad)
        assert seen.value.findings[0].path.startswith("$")


@pytest.mark.parametrize("assets", [["box", "box"], ["../box"], ["box\n"], [1], "box"], ids=str)
def test_assets_are_symbols_and_each_is_named_once(assets: Any) -> None:
    with pytest.raises(JobRefused):
        check_job("LOAD_ASSETS", {"assets": assets})
