"""The meshes that the reference engine knows: unit-sized solids and a plane, made by formula.

Not a modelling library: a symbol of the world specification goes in, triangles come out, the same
ones on every machine. Sizes follow the primitives of common game engines: a box of side 1, a sphere
of diameter 1, a capsule of height 2 and diameter 1, everything centred, the vertical axis is Y.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from math import cos, hypot, pi, sin
from typing import Final

__all__ = ["SHAPES", "Geometry", "Vector", "geometry", "shape_named_by"]

Vector = tuple[float, float, float]

SEGMENTS: Final = 24  # around the vertical axis; round enough on a screen, 500 triangles a sphere
RINGS: Final = 12  # from pole to pole


@dataclass(frozen=True, slots=True)
class Geometry:
    """Indexed triangles, counter-clockwise seen from outside, with one unit normal per vertex."""

    positions: tuple[Vector, ...]
    normals: tuple[Vector, ...]
    triangles: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Edge:
    """A point of an outline that is turned about the Y axis, with its outward normal."""

    radius: float
    y: float
    normal_radius: float
    normal_y: float


_Strip = Sequence[_Edge]


def shape_named_by(symbol: str) -> str:
    """Return the shape that a mesh symbol stands for; every symbol stands for one.

    The symbol itself, else the first of its words that names a shape ("old_stone_cylinder"), else
    one picked by the symbol's SHA-256, so that an unknown symbol looks the same in every world.
    """
    for word in (symbol, *symbol.split("_")):
        name = _ALIASES.get(word, word)
        if name in SHAPES:
            return name
    names = sorted(SHAPES)
    return names[sha256(symbol.encode()).digest()[0] % len(names)]


@cache
def geometry(shape: str) -> Geometry:
    """Return the triangles of a shape. Raises `KeyError` for a name that is not in `SHAPES`."""
    return SHAPES[shape]()


# Solids with flat faces.


def _box() -> Geometry:
    corners = [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    faces = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    return _flat([[corners[index] for index in face] for face in faces])


def _plane() -> Geometry:
    corners = [(-0.5, 0.0, -0.5), (-0.5, 0.0, 0.5), (0.5, 0.0, 0.5), (0.5, 0.0, -0.5)]
    return _flat([corners])


def _pyramid() -> Geometry:
    top = (0.0, 0.5, 0.0)
    base = [(-0.5, -0.5, -0.5), (0.5, -0.5, -0.5), (0.5, -0.5, 0.5), (-0.5, -0.5, 0.5)]
    sides = [[base[i], top, base[(i + 1) % 4]] for i in range(4)]
    return _flat([base, *sides])


def _flat(faces: Sequence[Sequence[Vector]]) -> Geometry:
    """Join convex faces, each with its own vertices, so that the edges between them stay sharp."""
    positions: list[Vector] = []
    normals: list[Vector] = []
    triangles: list[tuple[int, int, int]] = []
    for face in faces:
        first = len(positions)
        positions += face
        normals += [_normal(*face[:3])] * len(face)
        triangles += [(first, first + i, first + i + 1) for i in range(1, len(face) - 1)]
    return Geometry(tuple(positions), tuple(normals), tuple(triangles))


def _normal(a: Vector, b: Vector, c: Vector) -> Vector:
    (ux, uy, uz), (vx, vy, vz) = (tuple(q - p for p, q in zip(a, e, strict=True)) for e in (b, c))
    cross = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
    length = hypot(*cross)
    return _rounded(cross[0] / length, cross[1] / length, cross[2] / length)


# Solids of revolution.


def _sphere() -> Geometry:
    return _turned([_arc(-pi / 2, pi / 2, RINGS)])


def _capsule() -> Geometry:
    half = RINGS // 2
    low = _arc(-pi / 2, 0.0, half, y=-0.5)
    return _turned([low + _arc(0.0, pi / 2, half, y=0.5)])


def _cylinder() -> Geometry:
    side = [_Edge(0.5, -0.5, 1.0, 0.0), _Edge(0.5, 0.5, 1.0, 0.0)]
    top = [_Edge(0.5, 0.5, 0.0, 1.0), _Edge(0.0, 0.5, 0.0, 1.0)]
    return _turned([_base(), side, top])


def _cone() -> Geometry:
    slope = hypot(1.0, 0.5)  # height 1, radius 0.5: the normal leans up by radius / height
    normal = (1.0 / slope, 0.5 / slope)
    return _turned([_base(), [_Edge(0.5, -0.5, *normal), _Edge(0.0, 0.5, *normal)]])


def _torus() -> Geometry:
    return _turned([_arc(-pi, pi, RINGS, radius=0.15, centre=0.35)])


def _base() -> list[_Edge]:
    return [_Edge(0.0, -0.5, 0.0, -1.0), _Edge(0.5, -0.5, 0.0, -1.0)]


def _arc(
    start: float,
    end: float,
    steps: int,
    *,
    radius: float = 0.5,
    centre: float = 0.0,
    y: float = 0.0,
) -> list[_Edge]:
    """Return points of a circle in the plane of the outline, from one angle in radians to another.

    Poles are exactly on the axis, or the solid would have a hole of 1e-17 there.
    """
    angles = [start + (end - start) * step / steps for step in range(steps + 1)]
    edges = [(round(cos(angle), 12), round(sin(angle), 12)) for angle in angles]
    return [_Edge(centre + radius * c, y + radius * s, c, s) for c, s in edges]


def _turned(strips: Sequence[_Strip]) -> Geometry:
    """Turn outlines, given from bottom to top along the outside, about the Y axis."""
    positions: list[Vector] = []
    normals: list[Vector] = []
    triangles: list[tuple[int, int, int]] = []
    for strip in strips:
        first = len(positions)
        for edge in strip:
            positions += [_around(edge.radius, edge.y, turn) for turn in range(SEGMENTS)]
            normals += [
                _around(edge.normal_radius, edge.normal_y, turn) for turn in range(SEGMENTS)
            ]
        triangles += _strip_triangles(strip, first)
    return Geometry(tuple(positions), tuple(normals), tuple(triangles))


def _around(radius: float, y: float, turn: int) -> Vector:
    angle = 2 * pi * turn / SEGMENTS
    return _rounded(radius * cos(angle), y, -radius * sin(angle))


def _strip_triangles(strip: _Strip, first: int) -> list[tuple[int, int, int]]:
    """Return two triangles per quad, but one where the quad ends in a pole."""
    triangles = []
    for ring in range(len(strip) - 1):
        low, high = first + ring * SEGMENTS, first + (ring + 1) * SEGMENTS
        for turn in range(SEGMENTS):
            following = (turn + 1) % SEGMENTS
            if strip[ring].radius > 0:
                triangles.append((low + turn, low + following, high + turn))
            if strip[ring + 1].radius > 0:
                triangles.append((low + following, high + following, high + turn))
    return triangles


def _rounded(x: float, y: float, z: float) -> Vector:
    """Round away the last bits, where C libraries differ; adding zero turns -0.0 into 0.0."""
    return round(x, 9) + 0.0, round(y, 9) + 0.0, round(z, 9) + 0.0


SHAPES: Final[Mapping[str, Callable[[], Geometry]]] = {
    "box": _box,
    "capsule": _capsule,
    "cone": _cone,
    "cylinder": _cylinder,
    "plane": _plane,
    "pyramid": _pyramid,
    "sphere": _sphere,
    "torus": _torus,
}

_ALIASES: Final[Mapping[str, str]] = {
    "ball": "sphere",
    "column": "cylinder",
    "crate": "box",
    "cube": "box",
    "floor": "plane",
    "ground": "plane",
    "orb": "sphere",
    "pillar": "cylinder",
    "ring": "torus",
    "wall": "box",
}
