"""Hostile worlds: what is put into ``generate_world``, and the code of the refusal."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SPEC: dict[str, Any] = {
    "schema_version": "1.0",
    "world": {"id": "world_a", "name": "A", "gravity": [0, -9.81, 0]},
    "scene": {"id": "scene_a", "ambientLight": [0.5, 0.5, 0.5], "skybox": "dusk"},
    "entities": [
        {
            "id": "box_1",
            "type": "object",
            "transform": {"position": [0, 0, 0], "rotation": [0, 0, 0], "scale": [1, 1, 1]},
            "material": {"shader": "standard", "texture": "wood", "color": [1, 1, 1]},
            "components": {"mesh": "box", "collider": "box"},
        }
    ],
}
ENTITY: dict[str, Any] = SPEC["entities"][0]
SCHEMA = "schema_validation_failed"


@dataclass(frozen=True)
class World:
    """A payload, as JSON text."""

    name: str
    text: str
    error: str = SCHEMA


def changed(name: str, change: Callable[[Any], object], error: str = SCHEMA) -> World:
    """A good world with one change."""
    payload = {"spec": copy.deepcopy(SPEC)}
    change(payload)
    return World(name, json.dumps(payload), error)


def at(name: str, value: object, *path: str | int) -> World:
    """A good world with another value at one place; ``...`` removes what is there."""

    def change(payload: Any) -> None:
        *steps, last = path
        holder = payload["spec"]
        for step in steps:
            holder = holder[step]
        if value is ...:
            del holder[last]
        else:
            holder[last] = value

    return changed(f"{'.'.join(map(str, path))} {name}", change)


def add_key(payload: Any, path: str) -> None:
    """Put a key that nobody knows into the object at a place."""
    holder = payload["spec"]
    for step in path.split("."):
        holder = holder[int(step)] if step.isdigit() else holder[step]
    holder["onload"] = "alert(1)"


def many(count: int) -> list[dict[str, Any]]:
    return [{**ENTITY, "id": f"box_{number}"} for number in range(count)]


SYMBOLS = (
    "../../etc/passwd", "https://evil.example/x", "${x}", "a b", "BOX", "b\u00f6x", "box\n",
    "<script>", "=cmd()", "x" * 65,
)  # fmt: skip

WORLDS = [
    World("no world", "{}"),
    World("a list", "[]"),
    World("a world that is text", '{"spec": "x"}'),
    World("NaN", '{"spec": {"x": NaN}}', "payload_invalid"),
    World("a key twice", '{"spec": {}, "spec": {}}', "payload_invalid"),
    *(
        changed(f"{key} beside the world", lambda payload, key=key: payload.update({key: "x"}))  # type: ignore[misc]  # a default
        for key in ("jobs", "job_id", "status", "user_id", "build_id")
    ),
    *(at("from a client", "x", key) for key in ("jobs", "job_type", "status", "$ref")),
    *(at("missing", ..., key) for key in SPEC),
    *(at("missing", ..., "entities", 0, key) for key in ENTITY),
    *(
        changed(f"an extra key in {path}", lambda payload, path=path: add_key(payload, path))  # type: ignore[misc]  # a default
        for path in ("world", "scene", "entities.0", "entities.0.transform", "entities.0.material")
    ),
    *(at(repr(name)[:24], name, "entities", 0, "components", "mesh") for name in SYMBOLS),
    *(at(repr(name)[:24], name, "entities", 0, "id") for name in ("", "A", "\u00e9", "x\n", "a b")),
    *(
        at(repr(value), value, "entities", 0, "material", "color", 0)
        for value in (True, "1", 1.0000001, -0.1, None)
    ),
    *(
        at(repr(value), value, "entities", 0, "transform", "scale", 0) for value in (0, -1, 1e308)
    ),
    at("as a number", 1.0, "schema_version"),
    at("of another version", "2.0", "schema_version"),
    at("empty", [], "entities"),
    at("a thousand and one", many(1_001), "entities"),
    at("twice the same", [ENTITY, ENTITY], "entities"),
    at(
        "on an unknown entity",
        [{"id": "quest_1", "triggerEntity": "nobody", "goal": "x"}],
        "quests",
    ),
    at("a reference", {"$ref": "#/$defs/entity"}, "entities", 0),
]  # fmt: skip
