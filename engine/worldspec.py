"""From a world specification to the jobs that build it.

Pure: no Django, no clock, no I/O. `plan` and `beyond_schema` take a specification that the frozen
schema (``engine/contracts/world_spec.v1.schema.json``) has accepted; `engine.adapter` sees to that.
The rules are those of docs/engine.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, NotRequired, TypedDict

__all__ = [
    "JOB_TYPES",
    "Entity",
    "Finding",
    "JobPayload",
    "JobType",
    "LoadAssets",
    "PlannedJob",
    "Quest",
    "SceneSetup",
    "SpawnEntity",
    "WorldSpec",
    "beyond_schema",
    "plan",
]


class JobType(StrEnum):
    """The only three kinds of work that an engine is ever given."""

    BUILD_SCENE = "BUILD_SCENE"
    LOAD_ASSETS = "LOAD_ASSETS"
    SPAWN_ENTITY = "SPAWN_ENTITY"


JOB_TYPES: Final = frozenset(job_type.value for job_type in JobType)


# The specification, as the schema has it.

Vector3 = list[float]
"""Three numbers: x, y, z."""

Rgb = list[float]
"""Three numbers from 0 to 1: red, green, blue."""


class World(TypedDict):
    """The world itself; `gravity` is an acceleration along each axis."""

    id: str
    name: str
    gravity: Vector3


class Scene(TypedDict):
    """The one scene of a world; `skybox` is a symbol that the engine resolves."""

    id: str
    ambientLight: Rgb
    skybox: str


class Transform(TypedDict):
    """Where an entity is, how it is turned, and how large it is."""

    position: Vector3
    rotation: Vector3
    scale: Vector3


class Material(TypedDict):
    """How an entity looks; `shader` and `texture` are symbols."""

    shader: str
    texture: str
    color: Rgb


class Components(TypedDict):
    """What an entity is made of; `mesh` and `script` are symbols, an empty script is none."""

    mesh: str
    collider: Literal["box", "sphere", "none"]
    script: NotRequired[str]


class Entity(TypedDict):
    """One thing or being in the world."""

    id: str
    type: Literal["player", "npc", "object"]
    transform: Transform
    material: Material
    components: Components


class Quest(TypedDict):
    """A goal that begins with an entity."""

    id: str
    triggerEntity: str
    goal: str


class WorldSpec(TypedDict):
    """A world specification 1.0."""

    schema_version: Literal["1.0"]
    world: World
    scene: Scene
    entities: list[Entity]
    quests: NotRequired[list[Quest]]


# The jobs.


class SceneSetup(TypedDict):
    """The payload of BUILD_SCENE."""

    scene_id: str
    ambient_light: Rgb
    skybox: str
    gravity: Vector3


class LoadAssets(TypedDict):
    """The payload of LOAD_ASSETS: every mesh, texture and skybox, sorted, each symbol once."""

    assets: list[str]


class SpawnEntity(TypedDict):
    """The payload of SPAWN_ENTITY."""

    entity: Entity


JobPayload = SceneSetup | LoadAssets | SpawnEntity


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job before it has an id. Stages of one build run in order, jobs of one stage in any.

    `finish` marks the job that waits until all others are completed, and brings the artifact.
    """

    job_type: JobType
    stage: int
    payload: JobPayload
    finish: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a document: where (a JSON path), and what (a sentence)."""

    path: str
    message: str


def plan(spec: WorldSpec) -> list[PlannedJob]:
    """Return the jobs that build the world, in order of stage; the last one finishes it."""
    return [
        PlannedJob(JobType.BUILD_SCENE, 0, _scene_setup(spec)),
        PlannedJob(JobType.LOAD_ASSETS, 1, {"assets": _assets(spec)}),
        *_spawns(spec["entities"]),
    ]


def _scene_setup(spec: WorldSpec) -> SceneSetup:
    scene = spec["scene"]
    return {
        "scene_id": scene["id"],
        "ambient_light": scene["ambientLight"],
        "skybox": scene["skybox"],
        "gravity": spec["world"]["gravity"],
    }


def _assets(spec: WorldSpec) -> list[str]:
    meshes = {entity["components"]["mesh"] for entity in spec["entities"]}
    textures = {entity["material"]["texture"] for entity in spec["entities"]}
    return sorted(meshes | textures | {spec["scene"]["skybox"]})


def _spawns(entities: list[Entity]) -> Iterator[PlannedJob]:
    last = len(entities) - 1
    for index, entity in enumerate(entities):
        yield PlannedJob(JobType.SPAWN_ENTITY, 2, {"entity": entity}, finish=index == last)


def beyond_schema(spec: WorldSpec) -> list[Finding]:
    """Return what is wrong with `spec` by the rules that a schema cannot say; none is good."""
    entity_ids = [entity["id"] for entity in spec["entities"]]
    quests = spec.get("quests", [])
    return [
        *_repeated(entity_ids, "$.entities"),
        *_repeated([quest["id"] for quest in quests], "$.quests"),
        *_unknown_triggers(quests, frozenset(entity_ids)),
    ]


def _repeated(ids: Iterable[str], path: str) -> Iterator[Finding]:
    first_place: dict[str, int] = {}
    for index, name in enumerate(ids):
        place = first_place.setdefault(name, index)
        if place != index:
            yield Finding(f"{path}[{index}].id", f"'{name}' is already the id of {path}[{place}]")


def _unknown_triggers(quests: Iterable[Quest], entity_ids: frozenset[str]) -> Iterator[Finding]:
    for index, quest in enumerate(quests):
        name = quest["triggerEntity"]
        if name not in entity_ids:
            path = f"$.quests[{index}].triggerEntity"
            yield Finding(path, f"there is no entity with the id '{name}'")
