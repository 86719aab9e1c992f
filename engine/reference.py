"""The reference engine: builds every world into a binary glTF file, with nothing but the SDK.

It is the example for authors of engines, and what the demo runs. All of its work is real: scenes
are prepared, meshes made, entities placed, file and picture made and uploaded, and progress is the
share of that work that is done.

A build may come to it in the middle, when another engine was lost. So nothing depends on what
earlier jobs left in memory: the finishing job builds from the specification, and what is prepared
already only saves it the effort.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, cast

from engine.gltf import Artifact, Scene, symbol_colour
from engine.sdk import Context, Engine, HubRefused, Job, Timing, TryLater
from engine.shapes import geometry, shape_named_by
from engine.thumbnail import thumbnail
from engine.worldspec import Entity, JobType, WorldSpec

__all__ = ["build_reference"]

log = logging.getLogger("engine.reference")

VERSION: Final = "reference 1.1"

BUILDS_REMEMBERED: Final = 32  # more than run at once; the least recently used is forgotten

PAUSES: Final = 20  # per job at most; between two of them the loop serves everything else


@dataclass(slots=True)
class _Build:
    """What is prepared of one build."""

    scene: Scene = field(default_factory=Scene)
    specification: WorldSpec | None = None


class _Builds:
    """The builds under way, by id, and no more than `BUILDS_REMEMBERED`."""

    def __init__(self) -> None:
        self._builds: OrderedDict[str, _Build] = OrderedDict()

    def __len__(self) -> int:
        return len(self._builds)

    def of(self, build_id: str) -> _Build:
        build = self._builds.setdefault(build_id, _Build())
        self._builds.move_to_end(build_id)
        if len(self._builds) > BUILDS_REMEMBERED:
            self._builds.popitem(last=False)
        return build

    def forget(self, build_id: str) -> None:
        self._builds.pop(build_id, None)


class _Work:
    """Counts the steps of one job and reports their share; `pace_s` stretches it."""

    def __init__(self, context: Context, *, steps: int, pace_s: float) -> None:
        self._context = context
        self._steps = steps
        self._pace_s = pace_s
        self._done = 0

    async def step(self) -> None:
        """Count one step as done, and give way to the loop at even intervals."""
        pauses = min(self._steps, PAUSES)
        before = self._done * pauses // self._steps
        self._done += 1
        self._context.progress(100 * self._done // self._steps)
        if self._done * pauses // self._steps > before:
            await asyncio.sleep(self._pace_s / pauses)


def build_reference(
    url: str,
    name: str,
    secret: str,
    *,
    pace: float = 0.0,
    capacity: int = 4,
    timing: Timing | None = None,
) -> Engine:
    """Return an engine that builds worlds; drive it with `run()` or `main()`.

    `pace` is the number of seconds that each job takes longer than it must, so that people can
    watch. Raises what `Engine` raises, and `ValueError` for a negative pace.
    """
    if pace < 0:
        raise ValueError(f"a pace of {pace} seconds would need a time machine")
    engine = Engine(url, name, secret, capacity=capacity, version=VERSION, timing=timing)
    builder = _Builder(pace)
    engine.job(JobType.BUILD_SCENE.value)(builder.build_scene)
    engine.job(JobType.LOAD_ASSETS.value)(builder.load_assets)
    engine.job(JobType.SPAWN_ENTITY.value)(builder.spawn_entity)
    return engine


class _Builder:
    """The three handlers and what they remember."""

    def __init__(self, pace_s: float) -> None:
        self._pace_s = pace_s
        self._builds = _Builds()

    async def build_scene(self, job: Job, context: Context) -> dict[str, Any]:
        """Get hold of the specification and prepare an empty scene for it."""
        work = _Work(context, steps=2, pace_s=self._pace_s)
        specification = await self._specification(job, context)
        await work.step()
        build = self._builds.of(job.build_id)
        build.specification, build.scene = specification, Scene()
        await work.step()
        return {"scene": job.payload["scene_id"], "entities": len(specification["entities"])}

    async def load_assets(self, job: Job, context: Context) -> dict[str, Any]:
        """Make the mesh and the colour of every symbol; both are kept for the spawns."""
        assets: list[str] = job.payload["assets"]
        work = _Work(context, steps=len(assets), pace_s=self._pace_s)
        triangles = 0
        for symbol in assets:
            triangles += len(geometry(shape_named_by(symbol)).triangles)
            symbol_colour(symbol)
            await work.step()
        return {"assets": len(assets), "triangles": triangles}

    async def spawn_entity(self, job: Job, context: Context) -> dict[str, Any]:
        """Place one entity; the finishing job places what is missing and brings the artifact."""
        if job.finish:
            return await self._finish(job, context)
        entity: Entity = job.payload["entity"]
        work = _Work(context, steps=1, pace_s=self._pace_s)
        triangles = self._builds.of(job.build_id).scene.add(entity)
        await work.step()
        return {"node": entity["id"], "triangles": triangles}

    async def _finish(self, job: Job, context: Context) -> dict[str, Any]:
        specification = await self._specification(job, context)
        entities = specification["entities"]
        work = _Work(context, steps=len(entities) + 3, pace_s=self._pace_s)
        scene = self._builds.of(job.build_id).scene
        for entity in entities:
            if entity not in scene:
                scene.add(entity)
            await work.step()
        artifact = await asyncio.to_thread(scene.export, specification)
        await work.step()
        await context.upload_artifact(artifact.data)
        await work.step()
        await _bring_picture(specification, context)
        await work.step()
        self._builds.forget(job.build_id)
        return _summary(artifact)

    async def _specification(self, job: Job, context: Context) -> WorldSpec:
        """Return the specification: as it came with the job, as remembered, or from the hub."""
        specification = job.world_spec or self._builds.of(job.build_id).specification
        return cast("WorldSpec", specification or await context.fetch_spec())


async def _bring_picture(specification: WorldSpec, context: Context) -> None:
    """Draw and upload the thumbnail; a world that the hub wants no picture of is still a world."""
    picture = await asyncio.to_thread(thumbnail, specification)
    try:
        await context.upload_thumbnail(picture)
    except (HubRefused, TryLater) as refusal:
        log.warning("no thumbnail: %s", refusal, extra={"action": "engine.thumbnail_refused"})


def _summary(artifact: Artifact) -> dict[str, Any]:
    return {
        "nodes": artifact.nodes,
        "triangles": artifact.triangles,
        "bytes": len(artifact.data),
        "sha256": artifact.sha256,
    }
