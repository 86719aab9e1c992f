"""What the writer says is read back by a reader that somebody else wrote."""

import io
import json
import struct
from copy import deepcopy
from typing import Any, cast

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from trimesh.transformations import euler_matrix

from engine.gltf import Artifact, Scene, quaternion, symbol_colour
from engine.shapes import SHAPES, geometry
from engine.worldspec import Entity, WorldSpec

SYMBOLS = st.from_regex(r"[a-z0-9][a-z0-9_]{0,20}", fullmatch=True)
NUMBERS = st.floats(-1e6, 1e6, width=32) | st.integers(-1_000_000, 1_000_000)
SCALES = st.floats(0.001, 10_000)
ANGLES = st.floats(-720, 720)
CHANNELS = st.floats(0, 1)


def entity(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "type": changes.get("type", "object"),
        "transform": {
            "position": changes.get("position", [0, 0, 0]),
            "rotation": changes.get("rotation", [0, 0, 0]),
            "scale": changes.get("scale", [1, 1, 1]),
        },
        "material": {
            "shader": "standard",
            "texture": changes.get("texture", "stone"),
            "color": changes.get("color", [1, 0.5, 0]),
        },
        "components": {"mesh": changes.get("mesh", "box"), "collider": "box"},
    }


def world(*entities: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "world": {"id": "world_a", "name": "Ä <b>", "gravity": [0, -9.81, 0]},
        "scene": {"id": "scene_a", "ambientLight": [0.1, 0.2, 0.3], "skybox": "dusk"},
        "entities": list(entities),
        **changes,
    }


def export(specification: dict[str, Any]) -> Artifact:
    scene = Scene()
    for each in specification["entities"]:
        scene.add(each)
    return scene.export(cast("WorldSpec", specification))


def document(artifact: Artifact) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", artifact.data, 12)
    parsed: dict[str, Any] = json.loads(artifact.data[20 : 20 + length])
    return parsed


def read(artifact: Artifact) -> trimesh.Scene:
    return trimesh.load_scene(io.BytesIO(artifact.data), file_type="glb")


def drawn(scene: trimesh.Scene, name: str) -> Any:
    return scene.geometry[scene.graph[name][1]]


ENTITIES = st.lists(
    st.builds(
        entity,
        st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True).filter(lambda name: name != "world"),
        position=st.tuples(NUMBERS, NUMBERS, NUMBERS).map(list),
        rotation=st.tuples(ANGLES, ANGLES, ANGLES).map(list),
        scale=st.tuples(SCALES, SCALES, SCALES).map(list),
        color=st.tuples(CHANNELS, CHANNELS, CHANNELS).map(list),
        texture=SYMBOLS,
        mesh=SYMBOLS,
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda made: str(made["id"]),
)


@settings(max_examples=60, deadline=None)
@given(ENTITIES)
def test_a_reader_finds_every_entity_where_the_specification_puts_it(
    entities: list[dict[str, Any]],
) -> None:
    scene = read(export(world(*entities)))
    assert set(scene.graph.nodes_geometry) == {each["id"] for each in entities}
    for each in entities:
        transform = each["transform"]
        placed, _ = scene.graph[each["id"]]
        turned = euler_matrix(*np.radians(transform["rotation"]), axes="rxyz")[:3, :3]
        assert np.allclose(placed[:3, 3], transform["position"])
        assert np.allclose(
            placed[:3, :3], turned @ np.diag(transform["scale"]), rtol=1e-5, atol=1e-4
        )


def test_a_quarter_turn_about_y_points_the_x_axis_backwards() -> None:
    scene = read(export(world(entity("a", rotation=[0, 90, 0]))))
    placed, _ = scene.graph["a"]
    assert np.allclose(placed[:3, :3] @ [1, 0, 0], [0, 0, -1], atol=1e-9)


@given(st.tuples(ANGLES, ANGLES, ANGLES))
def test_quaternions_have_length_one(degrees: tuple[float, float, float]) -> None:
    assert np.linalg.norm(quaternion(degrees)) == pytest.approx(1)


def test_scale_and_position_reach_the_bounds_of_the_scene() -> None:
    scene = read(export(world(entity("a", position=[10, 0, 0], scale=[2, 4, 6]))))
    assert np.allclose(scene.bounds, [[9, -2, -3], [11, 2, 3]])


def test_a_colour_is_the_base_colour_unchanged() -> None:
    scene = read(export(world(entity("a", color=[1, 0, 0]), entity("b", color=[0, 0, 1]))))
    assert list(drawn(scene, "a").visual.material.baseColorFactor) == [255, 0, 0, 255]
    assert list(drawn(scene, "b").visual.material.baseColorFactor) == [0, 0, 255, 255]


def test_textures_tint_by_symbol_and_always_alike() -> None:
    made = document(export(world(entity("a", texture="moss"), entity("b", texture="rust"))))
    glows = [material["emissiveFactor"] for material in made["materials"]]
    assert glows[0] != glows[1]
    assert glows[0] == [round(channel * 0.06, 4) for channel in symbol_colour("moss")]


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_mesh_symbol_becomes_its_triangles(shape: str) -> None:
    artifact = export(world(entity("a", mesh=shape)))
    mesh = drawn(read(artifact), "a")
    assert len(mesh.faces) == artifact.triangles == len(geometry(shape).triangles)


def test_entities_that_look_alike_share_one_mesh() -> None:
    made = document(export(world(*(entity(f"e{i}", position=[i, 0, 0]) for i in range(50)))))
    assert (len(made["meshes"]), len(made["materials"]), len(made["accessors"])) == (1, 1, 3)


def test_a_thousand_entities_are_a_thousand_nodes() -> None:
    entities = [
        entity(f"e{i}", position=[i, 0, 0], color=[i / 1000, 0, 0], mesh="sphere")
        for i in range(1000)
    ]
    artifact = export(world(*entities))
    scene = read(artifact)
    assert len(scene.graph.nodes_geometry) == artifact.nodes == 1000
    assert np.allclose(scene.graph["e999"][0][:3, 3], [999, 0, 0])


@settings(max_examples=40, deadline=None)
@given(ENTITIES, st.randoms(use_true_random=False))
def test_the_same_world_gives_the_same_bytes_in_any_order(
    entities: list[dict[str, Any]], random: Any
) -> None:
    shuffled = deepcopy(entities)
    random.shuffle(shuffled)
    assert export(world(*entities)).data == export(world(*shuffled)).data


def test_whole_numbers_and_floats_of_the_same_value_give_the_same_bytes() -> None:
    whole = export(world(entity("a", position=[1, 2, 3], color=[1, 0, 1])))
    floats = export(world(entity("a", position=[1.0, 2.0, 3.0], color=[1.0, 0.0, 1.0])))
    assert whole.sha256 == floats.sha256


def test_adding_an_entity_again_replaces_it() -> None:
    specification = cast("WorldSpec", world(entity("a")))
    (last,) = specification["entities"]
    scene = Scene()
    scene.add(cast("Entity", entity("a", position=[5, 5, 5])))
    assert last not in scene
    scene.add(last)
    assert last in scene
    assert scene.export(specification).data == export(world(entity("a"))).data


def test_entities_that_the_world_does_not_have_are_left_out() -> None:
    specification = cast("WorldSpec", world(entity("a")))
    scene = Scene()
    for name in ("a", "b"):
        scene.add(cast("Entity", entity(name)))
    assert scene.export(specification).data == export(world(entity("a"))).data


def test_an_entity_that_was_never_added_is_missed() -> None:
    with pytest.raises(KeyError):
        Scene().export(cast("WorldSpec", world(entity("a"))))


def test_what_gltf_has_no_word_for_stands_in_the_extras() -> None:
    quest = {"id": "quest_a", "triggerEntity": "npc_1", "goal": 'Say "hi"'}
    made = document(export(world(entity("npc_1", type="npc"), entity("z"), quests=[quest])))
    extras = made["scenes"][0]["extras"]
    assert extras["gravity"] == [0.0, -9.81, 0.0]
    assert extras["ambientLight"] == [0.1, 0.2, 0.3]
    assert extras["skybox"] == {"symbol": "dusk", "color": list(symbol_colour("dusk"))}
    assert extras["quests"] == [quest]
    assert extras["world"] == {"id": "world_a", "name": "Ä <b>"}
    nodes = {node["name"]: node for node in made["nodes"]}
    assert nodes["npc_1"]["extras"]["type"] == "npc"
    assert nodes["npc_1"]["extras"]["quests"] == ["quest_a"]
    assert nodes["z"]["extras"]["quests"] == []


def test_one_sun_shines_and_carries_no_mesh() -> None:
    made = document(export(world(entity("a"))))
    suns = [node for node in made["nodes"] if "KHR_lights_punctual" in node.get("extensions", {})]
    assert [("mesh" in sun, sun["name"]) for sun in suns] == [(False, "Sun")]
    assert made["extensions"]["KHR_lights_punctual"]["lights"][0]["type"] == "directional"


@settings(max_examples=30, deadline=None)
@given(ENTITIES)
def test_the_file_keeps_the_rules_of_the_container(entities: list[dict[str, Any]]) -> None:
    artifact = export(world(*entities))
    data = artifact.data
    magic, version, size = struct.unpack_from("<4sII", data)
    (text_size, text_type) = struct.unpack_from("<I4s", data, 12)
    (binary_size, binary_type) = struct.unpack_from("<I4s", data, 20 + text_size)
    assert (magic, version, size) == (b"glTF", 2, len(data))
    assert (text_type, binary_type) == (b"JSON", b"BIN\0")
    assert text_size % 4 == binary_size % 4 == 0
    assert 28 + text_size + binary_size == size
    made = document(artifact)
    assert made["buffers"] == [{"byteLength": binary_size}]
    for view in made["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= binary_size


def test_positions_carry_the_bounds_that_are_stored_and_views_say_what_they_hold() -> None:
    artifact = export(world(entity("a", mesh="torus")))
    made = document(artifact)
    binary = artifact.data[-made["buffers"][0]["byteLength"] :]
    attributes = made["meshes"][0]["primitives"][0]["attributes"]
    position = made["accessors"][attributes["POSITION"]]
    view = made["bufferViews"][position["bufferView"]]
    stored = np.frombuffer(binary, "<f4", position["count"] * 3, view["byteOffset"]).reshape(-1, 3)
    assert position["min"] == [float(number) for number in stored.min(axis=0)]
    assert position["max"] == [float(number) for number in stored.max(axis=0)]
    indices = made["accessors"][made["meshes"][0]["primitives"][0]["indices"]]
    assert view["target"] == 34962
    assert made["bufferViews"][indices["bufferView"]]["target"] == 34963
