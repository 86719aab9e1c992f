"""A writer of binary glTF 2.0: a world specification goes in, one self-contained `.glb` comes out.

It writes what the hub's worlds need and nothing else of the format (Khronos glTF 2.0, sections 3
and 4.4; the sun is KHR_lights_punctual). The same world gives the same bytes, in whatever order its
entities were added.

How a specification is read:

- One node per entity, named by the entity's id; metres, Y up, right-handed, as glTF has it.
- Rotations are degrees about X, Y and Z in intrinsic XYZ order (the matrix Rx * Ry * Rz), which is
  what three.js and trimesh's ``rxyz`` mean by it.
- A colour is linear RGB and becomes the base colour unchanged. A texture is a symbol without
  pixels here: it shows as a faint glow whose tint follows from the symbol's SHA-256.
- Gravity, ambient light, skybox and quests stand in the extras of the scene; glTF itself has no
  word for them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from math import cos, radians, sin
from struct import Struct, calcsize, pack, unpack
from typing import Any, Final

from engine.shapes import Geometry, Vector, geometry, shape_named_by
from engine.worldspec import Entity, Material, WorldSpec

__all__ = ["Artifact", "Scene", "quaternion", "symbol_colour"]

Json = dict[str, Any]
Quaternion = tuple[float, float, float, float]

# Numbers of the format (glTF 2.0, sections 3.6.2.2, 3.6.1.2 and 4.4).
_FLOAT: Final = 5126
_UNSIGNED_SHORT: Final = 5123
_VERTICES: Final = 34962  # bufferView.target ARRAY_BUFFER
_INDICES: Final = 34963  # bufferView.target ELEMENT_ARRAY_BUFFER
_MAGIC: Final = 0x46546C67
_JSON_CHUNK: Final = 0x4E4F534A
_BINARY_CHUNK: Final = 0x004E4942

_header: Final = Struct("<III").pack
_chunk: Final = Struct("<II").pack

SUN: Final = "Sun"
"""Name of the light's node; entity ids are lower case, so that none can be called the same."""

_SUN_LIGHT: Final = {
    "type": "directional",
    "name": SUN,
    "color": [1.0, 1.0, 1.0],
    "intensity": 3.0,  # lux; what viewers with no exposure control show as plain daylight
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """An exported world: the bytes of the file and what is in it."""

    data: bytes
    nodes: int
    triangles: int

    @property
    def sha256(self) -> str:
        """The digest of the file as lowercase hex."""
        return sha256(self.data).hexdigest()


class Scene:
    """The entities of a world on their way to a file, added in any order and more than once."""

    def __init__(self) -> None:
        self._entities: dict[str, Entity] = {}

    def __contains__(self, entity: Entity) -> bool:
        return self._entities.get(entity["id"]) == entity

    def add(self, entity: Entity) -> int:
        """Add an entity, or replace the one of the same id; return its number of triangles."""
        self._entities[entity["id"]] = entity
        return len(geometry(shape_named_by(entity["components"]["mesh"])).triangles)

    def export(self, specification: WorldSpec) -> Artifact:
        """Return the file of a valid specification.

        Raises `KeyError` for an entity of it that was not added; others are left out.
        """
        document = _Document()
        quests = _quests_by_entity(specification)
        for name in sorted(entity["id"] for entity in specification["entities"]):
            document.add_entity(self._entities[name], quests=quests.get(name, []))
        entities = len(document.nodes)
        document.add_sun()
        document.add_scene(specification)
        return Artifact(document.to_glb(), nodes=entities, triangles=document.triangles)


def quaternion(degrees: Sequence[float]) -> Quaternion:
    """Return the unit quaternion (x, y, z, w) of three angles, intrinsic XYZ order."""
    (sx, cx), (sy, cy), (sz, cz) = (
        (sin(half), cos(half)) for half in (radians(angle) / 2 for angle in degrees)
    )
    return (
        sx * cy * cz + cx * sy * sz,
        cx * sy * cz - sx * cy * sz,
        cx * cy * sz + sx * sy * cz,
        cx * cy * cz - sx * sy * sz,
    )


@lru_cache(4096)  # every symbol of some large worlds, and no more
def symbol_colour(symbol: str) -> Vector:
    """Return the linear RGB colour that stands for a texture or skybox symbol, always the same."""
    red, green, blue = sha256(symbol.encode()).digest()[:3]
    return round(red / 255, 4), round(green / 255, 4), round(blue / 255, 4)


# The document.


class _Table:
    """A list of the document whose equal rows are written once."""

    def __init__(self) -> None:
        self.rows: list[Json] = []
        self._places: dict[str, int] = {}

    def index_of(self, row: Json) -> int:
        """Return the place of `row`, which is added if there is none like it."""
        place = self._places.setdefault(json.dumps(row), len(self.rows))
        if place == len(self.rows):
            self.rows.append(row)
        return place


@dataclass(slots=True)
class _Document:
    """The JSON half and the binary half of one file; each thing is written once and shared."""

    nodes: list[Json] = field(default_factory=list)
    meshes: _Table = field(default_factory=_Table)
    materials: _Table = field(default_factory=_Table)
    accessors: list[Json] = field(default_factory=list)
    views: list[Json] = field(default_factory=list)
    binary: bytearray = field(default_factory=bytearray)
    scene: Json = field(default_factory=dict)
    triangles: int = 0
    _primitives: dict[str, Json] = field(default_factory=dict)

    def add_entity(self, entity: Entity, *, quests: Sequence[str]) -> None:
        transform, components = entity["transform"], entity["components"]
        self.triangles += len(geometry(shape_named_by(components["mesh"])).triangles)
        self.nodes.append(
            {
                "name": entity["id"],
                "mesh": self._mesh(components["mesh"], entity["material"]),
                "translation": _floats(transform["position"]),
                "rotation": list(quaternion(transform["rotation"])),
                "scale": _floats(transform["scale"]),
                "extras": _entity_extras(entity) | {"quests": list(quests)},
            }
        )

    def add_sun(self) -> None:
        """Add a light without a mesh; light shines along -Z of its node, so it is tilted down."""
        self.nodes.append(
            {
                "name": SUN,
                "rotation": list(quaternion((-50.0, -30.0, 0.0))),
                "extensions": {"KHR_lights_punctual": {"light": 0}},
            }
        )

    def add_scene(self, specification: WorldSpec) -> None:
        self.scene = {
            "name": specification["scene"]["id"],
            "nodes": list(range(len(self.nodes))),
            "extras": _scene_extras(specification),
        }

    def to_glb(self) -> bytes:
        text = json.dumps(self._json(), separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)  # section 4.4.3.2: spaces after JSON, zeros after binary
        binary = bytes(self.binary)
        size = 12 + 8 + len(text) + 8 + len(binary)
        head = _header(_MAGIC, 2, size) + _chunk(len(text), _JSON_CHUNK)
        return head + text + _chunk(len(binary), _BINARY_CHUNK) + binary

    def _json(self) -> Json:
        return {
            "asset": {"version": "2.0", "generator": "Interaction Hub reference engine"},
            "extensionsUsed": ["KHR_lights_punctual"],
            "extensions": {"KHR_lights_punctual": {"lights": [_SUN_LIGHT]}},
            "scene": 0,
            "scenes": [self.scene],
            "nodes": self.nodes,
            "meshes": self.meshes.rows,
            "materials": self.materials.rows,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.binary)}],
        }

    def _mesh(self, symbol: str, material: Material) -> int:
        look = self.materials.index_of(_material(material))
        primitive = {**self._primitive(shape_named_by(symbol)), "material": look}
        return self.meshes.index_of({"name": symbol, "primitives": [primitive]})

    def _primitive(self, shape: str) -> Json:
        if shape not in self._primitives:
            solid = geometry(shape)
            self._primitives[shape] = {
                "attributes": {
                    "POSITION": self._vectors(solid.positions, bounds=True),
                    "NORMAL": self._vectors(solid.normals, bounds=False),
                },
                "indices": self._corners(solid),
                "mode": 4,
            }
        return self._primitives[shape]

    def _vectors(self, vectors: Sequence[Vector], *, bounds: bool) -> int:
        data = pack(f"<{3 * len(vectors)}f", *chain.from_iterable(vectors))
        accessor: Json = {
            "bufferView": self._view(data, _VERTICES),
            "componentType": _FLOAT,
            "count": len(vectors),
            "type": "VEC3",
        }
        return self._accessor(accessor | (_bounds(data) if bounds else {}))

    def _corners(self, solid: Geometry) -> int:
        corners = list(chain.from_iterable(solid.triangles))
        data = pack(f"<{len(corners)}H", *corners)  # no shape has 65,535 vertices
        return self._accessor(
            {
                "bufferView": self._view(data, _INDICES),
                "componentType": _UNSIGNED_SHORT,
                "count": len(corners),
                "type": "SCALAR",
            }
        )

    def _accessor(self, accessor: Json) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def _view(self, data: bytes, target: int) -> int:
        offset = len(self.binary)
        self.binary += data + bytes(-len(data) % 4)  # section 3.6.2.4: accessors are aligned
        self.views.append(
            {"buffer": 0, "byteOffset": offset, "byteLength": len(data), "target": target}
        )
        return len(self.views) - 1


def _bounds(data: bytes) -> Json:
    """Return min and max as the stored 32-bit floats say them, not as they were computed."""
    numbers = unpack(f"<{len(data) // calcsize('<f')}f", data)
    axes = [numbers[axis::3] for axis in range(3)]
    return {"min": [min(axis) for axis in axes], "max": [max(axis) for axis in axes]}


def _material(material: Material) -> Json:
    texture, shader = material["texture"], material["shader"]
    return {
        "name": f"{shader} {texture}",
        "pbrMetallicRoughness": {
            "baseColorFactor": [*_floats(material["color"]), 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.8,
        },
        "emissiveFactor": [round(channel * 0.06, 4) for channel in symbol_colour(texture)],
    }


def _entity_extras(entity: Entity) -> Json:
    components, material = entity["components"], entity["material"]
    return {
        "type": entity["type"],
        "mesh": components["mesh"],
        "collider": components["collider"],
        "script": components.get("script", ""),
        "shader": material["shader"],
        "texture": material["texture"],
    }


def _quests_by_entity(specification: WorldSpec) -> dict[str, list[str]]:
    quests: dict[str, list[str]] = {}
    for quest in specification.get("quests", ()):
        quests.setdefault(quest["triggerEntity"], []).append(quest["id"])
    return quests


def _scene_extras(specification: WorldSpec) -> Json:
    world, scene = specification["world"], specification["scene"]
    return {
        "world": {"id": world["id"], "name": world["name"]},
        "gravity": _floats(world["gravity"]),
        "ambientLight": _floats(scene["ambientLight"]),
        "skybox": {"symbol": scene["skybox"], "color": list(symbol_colour(scene["skybox"]))},
        "quests": [
            {"id": quest["id"], "triggerEntity": quest["triggerEntity"], "goal": quest["goal"]}
            for quest in specification.get("quests", ())
        ],
    }


def _floats(numbers: Iterable[float]) -> list[float]:
    """Return the numbers as floats: 1 and 1.0 in a specification mean, and here say, the same."""
    return [float(number) for number in numbers]
