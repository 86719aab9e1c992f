"""Shapes are proper solids, and every symbol has one."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from engine.shapes import SHAPES, geometry, shape_named_by

SOLIDS = sorted(set(SHAPES) - {"plane"})


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_triangle_faces_the_way_its_normals_point(shape: str) -> None:
    solid = geometry(shape)
    positions, normals = np.array(solid.positions), np.array(solid.normals)
    corners = np.array(solid.triangles)
    a, b, c = (positions[corners[:, corner]] for corner in range(3))
    facing = (np.cross(b - a, c - a) * normals[corners].mean(axis=1)).sum(axis=1)
    assert (facing > 0).all()
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)


@pytest.mark.parametrize("shape", SOLIDS)
def test_every_solid_is_closed(shape: str) -> None:
    solid = geometry(shape)
    mesh = trimesh.Trimesh(solid.positions, solid.triangles)
    mesh.merge_vertices(merge_norm=True)
    assert mesh.is_watertight
    assert mesh.volume > 0


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_shape_is_centred_and_one_unit_wide(shape: str) -> None:
    positions = np.array(geometry(shape).positions)
    assert np.allclose(positions.min(axis=0), -positions.max(axis=0))
    assert positions[:, 0].max() == 0.5


@pytest.mark.parametrize(
    ("symbol", "shape"),
    [
        ("sphere", "sphere"),
        ("cube", "box"),
        ("old_stone_cylinder", "cylinder"),
        ("big_crate_7", "box"),
    ],
)
def test_a_symbol_that_names_a_shape_gets_it(symbol: str, shape: str) -> None:
    assert shape_named_by(symbol) == shape


@given(st.from_regex(r"[a-z0-9][a-z0-9_]{0,63}", fullmatch=True))
def test_every_symbol_has_one_shape(symbol: str) -> None:
    assert shape_named_by(symbol) in SHAPES
    assert shape_named_by(symbol) == shape_named_by(symbol)


def test_an_unknown_symbol_keeps_its_shape_from_release_to_release() -> None:
    assert [shape_named_by(s) for s in ("hero", "dragon", "teapot")] == [
        "sphere",
        "capsule",
        "cylinder",
    ]
