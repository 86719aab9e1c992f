"""A picture of a world, drawn in software: a specification goes in, the bytes of a PNG come out.

A small rasteriser with a depth buffer, for a preview and nothing more: solids in their own colours,
lit by the scene's ambient light and one sun, before a sky in the colour of the skybox symbol. The
same world gives the same picture. Pure: no Django, no clock, no I/O, no library for images.

PNG is written as in W3C PNG (third edition), sections 5 and 11.2: one IHDR, one IDAT, one IEND.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from math import ceil, sqrt
from struct import pack
from typing import Final

from engine.gltf import quaternion, symbol_colour
from engine.shapes import Geometry, Vector, geometry, shape_named_by
from engine.worldspec import Entity, Transform, WorldSpec

__all__ = ["HEIGHT", "WIDTH", "png", "thumbnail"]

WIDTH: Final = 320
HEIGHT: Final = 200

_FINE: Final = 2  # drawn so many times as large, then averaged: edges are smooth
_W: Final = WIDTH * _FINE
_H: Final = HEIGHT * _FINE
_FOCAL: Final = _H * 1.25  # pixels; a vertical field of view of 44 degrees
_FILLED: Final = 0.9  # of the picture, by what stands in the world
_NEAR: Final = 0.01  # of the distance to the middle: what is closer to the eye is cut away
_EYE: Final = (0.55, 0.45, 0.70)  # where we look from: above, in front, a little to the right
_SUN: Final = (0.383, 0.766, 0.516)  # towards the light, as the sun of the built file stands
_SUNSHINE: Final = 0.9
_GLOW: Final = 0.06  # of a texture's own colour, as in the built file
_SMALL: Final = 8.0  # pixels; a solid that looks smaller than this is drawn as a box

Pixel = bytes
"""Three bytes: red, green, blue, encoded as sRGB."""


def thumbnail(specification: WorldSpec) -> bytes:
    """Return a PNG of `WIDTH` by `HEIGHT` pixels that shows the world of a valid specification."""
    entities = specification["entities"]
    camera = _Camera.on(entities)
    canvas = _Canvas(specification["scene"]["skybox"])
    ambient = specification["scene"]["ambientLight"]
    for entity in entities:
        for triangle, normal in _seen_triangles(entity, camera):
            corners = camera.project(triangle)
            if corners:
                canvas.fill(corners, _lit(entity, normal, ambient))
    return png(canvas.averaged(), WIDTH, HEIGHT)


def png(pixels: Sequence[Pixel], width: int, height: int) -> bytes:
    """Return rows of pixels, from the top left on, as a PNG of 8-bit RGB."""
    rows = (b"\0" + b"".join(pixels[row * width : (row + 1) * width]) for row in range(height))
    header = pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


# The camera.

Corner = tuple[float, float, float]
"""A point on the screen: x and y in pixels, and one over its distance."""


@dataclass(frozen=True, slots=True)
class _Camera:
    """Where the eye is, and the three directions of what it sees; all of unit length."""

    eye: Vector
    right: Vector
    up: Vector
    forward: Vector
    near: float

    @classmethod
    def on(cls, entities: Sequence[Entity]) -> "_Camera":
        """Look at everything that stands; floors count only where there is nothing else."""
        points = [point for each in _standing(entities) or entities for point in _box(each)]
        x, y, z = (_middle([point[axis] for point in points]) for axis in range(3))
        forward = _unit((-_EYE[0], -_EYE[1], -_EYE[2]))
        right = _unit(_cross(forward, (0.0, 1.0, 0.0)))
        middle = cls((x, y, z), right, _cross(right, forward), forward, 0.0)
        away = max(_distance(middle.view(point)) for point in points)
        eye = (x - forward[0] * away, y - forward[1] * away, z - forward[2] * away)
        return cls(eye, right, middle.up, forward, away * _NEAR)

    def view(self, point: Vector) -> Vector:
        """Return a point as the eye has it: to the right, up, and ahead."""
        seen = _minus(point, self.eye)
        return _dot(seen, self.right), _dot(seen, self.up), _dot(seen, self.forward)

    def project(self, triangle: Sequence[Vector]) -> list[Corner]:
        """Return the corners on the screen of what lies before the eye: none, three or four."""
        return [
            (_W / 2 + x / z * _FOCAL, _H / 2 - y / z * _FOCAL, 1 / z)
            for x, y, z in self._before([self.view(point) for point in triangle])
        ]

    def _before(self, points: Sequence[Vector]) -> Iterator[Vector]:
        """Cut a polygon at the near plane (Sutherland and Hodgman, for one plane)."""
        for a, b in zip(points, [*points[1:], points[0]], strict=True):
            if a[2] >= self.near:
                yield a
            if (a[2] >= self.near) != (b[2] >= self.near):
                share = (self.near - a[2]) / (b[2] - a[2])
                yield a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), self.near


def _standing(entities: Sequence[Entity]) -> list[Entity]:
    return [each for each in entities if shape_named_by(each["components"]["mesh"]) != "plane"]


def _middle(numbers: Sequence[float]) -> float:
    return (min(numbers) + max(numbers)) / 2


def _distance(seen: Vector) -> float:
    """Return how far back the eye must go from the middle to have a point in the picture."""
    x, y, z = seen
    return max(abs(x) / _W, abs(y) / _H) * 2 * _FOCAL / _FILLED - z


def _box(entity: Entity) -> list[Vector]:
    """Return the corners of the box around an entity, in world space."""
    shape = shape_named_by(entity["components"]["mesh"])
    return _placed(_extent(shape), entity["transform"])


@cache
def _extent(shape: str) -> list[Vector]:
    """Return the corners of the box around a shape."""
    sides = [(min(axis), max(axis)) for axis in zip(*geometry(shape).positions, strict=True)]
    x, y, z = sides
    return list(product(x, y, z))


# The solids.


def _seen_triangles(entity: Entity, camera: _Camera) -> Iterator[tuple[list[Vector], Vector]]:
    """Yield the triangles of an entity that face the eye, in world space, with their normals."""
    solid = _solid(entity, camera)
    points = _placed(solid.positions, entity["transform"])
    for corners in solid.triangles:
        triangle = [points[corner] for corner in corners]
        a, b, c = triangle
        normal = _cross(_minus(b, a), _minus(c, a))
        if _dot(normal, _minus(camera.eye, a)) > 0:
            yield triangle, _unit(normal)


def _solid(entity: Entity, camera: _Camera) -> Geometry:
    """Return the mesh, or a box where nobody would see the difference."""
    shape = shape_named_by(entity["components"]["mesh"])
    x, y, z = entity["transform"]["position"]
    distance = camera.view((x, y, z))[2]
    size = max(entity["transform"]["scale"]) * _FOCAL
    return geometry("box" if shape != "plane" and 0 < size < distance * _SMALL else shape)


def _placed(vertices: Sequence[Vector], transform: Transform) -> list[Vector]:
    """Return vertices where the transform puts them: scaled, turned, moved."""
    x, y, z, w = quaternion(transform["rotation"])
    turn = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    (px, py, pz), (sx, sy, sz) = transform["position"], transform["scale"]
    points = []
    for a, b, c in vertices:
        scaled = (a * sx, b * sy, c * sz)
        points.append(
            (px + _dot(turn[0], scaled), py + _dot(turn[1], scaled), pz + _dot(turn[2], scaled))
        )
    return points


def _lit(entity: Entity, normal: Vector, ambient: Sequence[float]) -> Pixel:
    """Return the colour of a face: its own, under both lights, with the glow of its texture."""
    material = entity["material"]
    sun = _SUNSHINE * max(0.0, _dot(normal, _SUN))
    glow = symbol_colour(material["texture"])
    return bytes(
        _srgb(own * (light + sun) + _GLOW * tint)
        for own, light, tint in zip(material["color"], ambient, glow, strict=True)
    )


# The canvas.


class _Canvas:
    """Pixels before a sky, each with one over the distance of what it shows."""

    def __init__(self, skybox: str) -> None:
        colour = symbol_colour(skybox)
        self.pixels: list[Pixel] = []
        for row in range(_H):  # paler towards the horizon, as skies are
            haze = 0.25 + 0.5 * row / _H
            sky = bytes(_srgb(part * (1 - haze) + haze) for part in colour)
            self.pixels += [sky] * _W
        self._depths = [0.0] * (_W * _H)

    def averaged(self) -> list[Pixel]:
        """Return the picture at its own size."""
        rows = [self.pixels[row * _W : (row + 1) * _W] for row in range(_H)]
        return [
            bytes(sum(parts) // _FINE**2 for parts in zip(*square, strict=True))
            for upper, lower in zip(rows[::2], rows[1::2], strict=True)
            for square in zip(upper[::2], upper[1::2], lower[::2], lower[1::2], strict=True)
        ]

    def fill(self, corners: Sequence[Corner], colour: Pixel) -> None:
        """Draw a convex polygon of three or four corners where nothing nearer is drawn."""
        for second in range(1, len(corners) - 1):
            self._triangle(sorted((corners[0], *corners[second : second + 2]), key=_row), colour)

    def _triangle(self, corners: Sequence[Corner], colour: Pixel) -> None:
        """Draw three corners that are sorted from top to bottom, line by line."""
        top, middle, bottom = corners
        slope = _slope(top, middle, bottom)
        for row in range(max(0, ceil(top[1] - 0.5)), min(_H, ceil(bottom[1] - 0.5))):
            y = row + 0.5
            half = (top, middle) if y < middle[1] else (middle, bottom)
            left, right = sorted((_across(top, bottom, y), _across(*half, y)))
            start, end = max(0, ceil(left - 0.5)), min(_W, ceil(right - 0.5))
            depth = top[2] + (start + 0.5 - top[0]) * slope[0] + (y - top[1]) * slope[1]
            self._line(row * _W + start, row * _W + end, depth, slope[0], colour)

    def _line(self, start: int, end: int, depth: float, step: float, colour: Pixel) -> None:
        depths, pixels = self._depths, self.pixels
        for at in range(start, end):
            if depth > depths[at]:
                depths[at] = depth
                pixels[at] = colour
            depth += step


def _row(corner: Corner) -> float:
    return corner[1]


def _across(a: Corner, b: Corner, y: float) -> float:
    """Return the x where the edge from a to b crosses a line."""
    if a[1] == b[1]:
        return b[0]
    return a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1])


def _slope(a: Corner, b: Corner, c: Corner) -> tuple[float, float]:
    """Return how much one over the distance grows per pixel to the right, and per pixel down."""
    (ux, uy, uw), (vx, vy, vw) = ((e[0] - a[0], e[1] - a[1], e[2] - a[2]) for e in (b, c))
    area = ux * vy - uy * vx
    if area == 0:
        return 0.0, 0.0
    return (uw * vy - vw * uy) / area, (vw * ux - uw * vx) / area


@lru_cache(4096)
def _shade(level: int) -> int:
    linear = level / 4095
    encoded = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055  # noqa: PLR2004 - IEC 61966-2-1
    return round(255 * encoded)


def _srgb(linear: float) -> int:
    """Encode a part of a linear colour; what is brighter than white is white."""
    return _shade(round(4095 * min(1.0, max(0.0, linear))))


# Vectors.


def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(a: Vector) -> Vector:
    length = sqrt(_dot(a, a)) or 1.0
    return a[0] / length, a[1] / length, a[2] / length
