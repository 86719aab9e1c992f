# noqa: INP001 - a script; nobody imports it
"""A complete engine: one glTF node per entity, no meshes. HUB_URL, HUB_ENGINE_SECRET, name given.

HUB_URL=http://127.0.0.1:8000 HUB_ENGINE_SECRET=... python docs/examples/tiny_engine.py tiny-1
"""

import json
import os
import struct
import sys
from typing import Any

from engine.sdk import Context, Engine, Job, JobFailed

engine = Engine(os.environ["HUB_URL"], sys.argv[1], os.environ["HUB_ENGINE_SECRET"], capacity=2)


@engine.job("BUILD_SCENE")
@engine.job("LOAD_ASSETS")
def nothing_to_prepare(job: Job, context: Context) -> dict[str, Any]:
    """Everything is made by the finishing job, so that a lost engine costs nothing."""
    context.progress(100)
    return {"prepared": job.job_type}


@engine.job("SPAWN_ENTITY")
async def spawn(job: Job, context: Context) -> dict[str, Any]:
    """Place an entity; the last job of a build also exports and uploads the whole world."""
    if not job.finish:
        return {"node": job.payload["entity"]["id"]}
    world = job.world_spec or await context.fetch_spec()
    if len(world["entities"]) > 500:  # noqa: PLR2004 - what this engine can do
        raise JobFailed("too_large", "this engine builds at most 500 entities", retryable=False)
    context.progress(50)
    await context.upload_artifact(glb(world["entities"]))
    return {"nodes": len(world["entities"])}


def glb(entities: list[dict[str, Any]]) -> bytes:
    """A binary glTF 2.0 file with one empty node at the place of each entity."""
    nodes = [{"name": e["id"], "translation": e["transform"]["position"]} for e in entities]
    scene = {"nodes": list(range(len(nodes)))}
    document = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [scene], "nodes": nodes}
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text))
    return head + struct.pack("<I4s", len(text), b"JSON") + text


if __name__ == "__main__":
    engine.main()
