"""The picture of a world: a real PNG, of what is there, from where it can be seen."""

import io
import zlib
from struct import unpack
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.gltf import symbol_colour
from engine.shapes import SHAPES
from engine.thumbnail import HEIGHT, WIDTH, png, thumbnail
from engine.worldspec import WorldSpec

RED, GREEN, GREY = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.5]


def entity(mesh: str = "box", **changes: Any) -> dict[str, Any]:
    place = {"position": [0, 0, 0], "rotation": [0, 0, 0], "scale": [1, 1, 1]}
    return {
        "id": "thing",
        "type": "object",
        "transform": place | {k: v for k, v in changes.items() if k in place},
        "material": {"shader": "s", "texture": "moss", "color": changes.get("color", RED)},
        "components": {"mesh": mesh, "collider": "none"},
    }


def world(*entities: dict[str, Any], ambient: list[float] = GREY) -> WorldSpec:
    spec = {
        "schema_version": "1.0",
        "world": {"id": "w", "name": "W", "gravity": [0, -9.81, 0]},
        "scene": {"id": "s", "ambientLight": ambient, "skybox": "dusk"},
        "entities": list(entities),
    }
    return cast("WorldSpec", spec)


def rows(data: bytes) -> list[list[tuple[int, ...]]]:
    """Read a PNG of 8-bit RGB without filters, checking every chunk."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    file, chunks = io.BytesIO(data[8:]), {}
    while head := file.read(8):
        size, name = unpack(">I4s", head)
        body = file.read(size)
        assert unpack(">I", file.read(4)) == (zlib.crc32(name + body),)
        chunks[name] = body
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [8, 2, 0, 0, 0]
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * (1 + 3 * width)
    lines = [raw[at : at + 1 + 3 * width] for at in range(0, len(raw), 1 + 3 * width)]
    assert {line[0] for line in lines} == {0}
    return [[tuple(line[at : at + 3]) for at in range(1, len(line), 3)] for line in lines]


def centre(data: bytes) -> tuple[int, ...]:
    return rows(data)[HEIGHT // 2][WIDTH // 2]


def is_red(pixel: tuple[int, ...]) -> bool:
    return pixel[0] > 100 and pixel[0] > 2 * max(pixel[1:])


def test_a_png_holds_the_pixels_it_was_given() -> None:
    pixels = [bytes((n, 2 * n, 3 * n)) for n in range(6)]
    assert rows(png(pixels, 3, 2)) == [
        [(0, 0, 0), (1, 2, 3), (2, 4, 6)],
        [(3, 6, 9), (4, 8, 12), (5, 10, 15)],
    ]


def test_the_picture_has_its_size_and_the_same_world_gives_the_same_bytes() -> None:
    picture = thumbnail(world(entity()))
    seen = rows(picture)
    assert (len(seen), {len(row) for row in seen}) == (HEIGHT, {WIDTH})
    assert thumbnail(world(entity())) == picture


@pytest.mark.parametrize("mesh", sorted(set(SHAPES) - {"torus"}))
def test_every_shape_stands_in_the_middle_before_the_sky(mesh: str) -> None:
    seen = rows(thumbnail(world(entity(mesh))))
    assert is_red(seen[HEIGHT // 2][WIDTH // 2])
    corners = [seen[row][column] for row in (0, -1) for column in (0, -1)]
    assert not any(map(is_red, corners))


def test_a_ring_has_a_hole() -> None:
    seen = rows(thumbnail(world(entity("torus", rotation=[60, 0, 0]))))
    middle = seen[HEIGHT // 2]
    assert not is_red(middle[WIDTH // 2])
    assert any(map(is_red, middle))


def test_what_is_nearer_hides_what_is_behind_in_whatever_order_they_come() -> None:
    near = entity(position=[2, 2, 2], color=GREEN)
    behind = entity(position=[-0.4, 0, -1])
    one, other = thumbnail(world(near, behind)), thumbnail(world(behind, near))
    assert one == other
    assert any(pixel[1] > 100 for row in rows(one) for pixel in row)


def test_a_floor_beyond_the_eye_is_cut_and_does_not_make_the_rest_small() -> None:
    floor = entity("plane", scale=[10_000, 1, 10_000], position=[0, -0.5, 0], color=GREEN)
    seen = rows(thumbnail(world(floor, entity())))
    assert sum(is_red(pixel) for row in seen for pixel in row) > WIDTH * HEIGHT / 20
    assert seen[-1][0][1] > max(seen[-1][0][0], seen[-1][0][2])


def test_light_makes_a_face_brighter_and_darkness_leaves_only_the_sun() -> None:
    bright, dark = (centre(thumbnail(world(entity(), ambient=[x] * 3))) for x in (1.0, 0.0))
    assert bright[0] > dark[0]
    faces = {p for row in rows(thumbnail(world(entity(), ambient=[0] * 3))) for p in row}
    assert len([face for face in faces if is_red(face)]) >= 2


def test_the_sky_has_the_tint_of_its_symbol() -> None:
    seen = rows(thumbnail(world(entity())))[0][0]
    tint = symbol_colour("dusk")
    assert seen.index(max(seen)) == tint.index(max(tint))


numbers = st.floats(-1e6, 1e6)
scales = st.floats(1e-4, 1e4)


@settings(max_examples=30)  # a picture is a tenth of a second
@given(
    st.lists(
        st.builds(
            entity,
            mesh=st.sampled_from(sorted(SHAPES)),
            position=st.tuples(numbers, numbers, numbers).map(list),
            rotation=st.tuples(numbers, numbers, numbers).map(list),
            scale=st.tuples(scales, scales, scales).map(list),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_every_world_that_the_schema_admits_has_a_picture(entities: list[dict[str, Any]]) -> None:
    assert len(rows(thumbnail(world(*entities)))) == HEIGHT
