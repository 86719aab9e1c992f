"""Plain worlds to ask for: a number of boxes in a row."""

from typing import Any

__all__ = ["plain_world"]


def plain_world(entities: int) -> dict[str, Any]:
    """A specification of two jobs, and one for each box."""
    return {
        "schema_version": "1.0",
        "world": {"id": "world_chaos", "name": "Chaos", "gravity": [0, -9.81, 0]},
        "scene": {"id": "scene_chaos", "ambientLight": [0.5, 0.5, 0.5], "skybox": "dusk"},
        "entities": [_box(index) for index in range(entities)],
    }


def _box(index: int) -> dict[str, Any]:
    place = {"position": [index, 0, 0], "rotation": [0, 0, 0], "scale": [1, 1, 1]}
    return {
        "id": f"box_{index}",
        "type": "object",
        "transform": place,
        "material": {"shader": "standard", "texture": "wood", "color": [1, 1, 1]},
        "components": {"mesh": "box", "collider": "box"},
    }
