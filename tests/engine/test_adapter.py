"""Nothing but a good world and its own jobs passes the adapter; each refusal names the place."""

import copy
import hashlib
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import adapter
from engine.actions import world_actions
from engine.adapter import (
    MAX_FINDINGS,
    WORLD_BOUNDS,
    SchemaChanged,
    WorldRefused,
    admit,
    load_schema,
)
from engine.coordinator import Coordinator
from engine.worldspec import Finding
from security.conf import HubSettings
from security.strictjson import Bounds, TooManyNodes, loads


def entity(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "type": "npc",
        "transform": {"position": [0, -1.5, 1e6], "rotation": [0, 90, 0], "scale": [1, 2.5, 1e-4]},
        "material": {"shader": "standard", "texture": "brick", "color": [0, 0.5, 1]},
        "components": {"mesh": "box", "collider": "none", "script": "patrol"},
    }


def world(*names: str) -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "world": {"id": "world_1", "name": "Zoë and Tom's <b>garden</b>", "gravity": [0, -9.81, 0]},
        "scene": {"id": "scene_1", "ambientLight": [0.1, 0.2, 0.3], "skybox": "dusk"},
        "entities": [entity(name) for name in names or ("door", "guard")],
        "quests": [{"id": "quest_1", "triggerEntity": (names or ["door"])[0], "goal": "Leave."}],
    }


def parts(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each value within `value` with the steps that lead to it."""
    yield path, value
    holder = enumerate(value) if isinstance(value, list) else ()
    for step, inner in value.items() if isinstance(value, dict) else holder:
        yield from parts(inner, (*path, step))


def changed(path: tuple[str | int, ...], new: Any) -> Any:
    """Return a good world with another value at one place; `...` removes what is there."""
    spec = {"": world()}
    holder: Any = spec
    steps = ("", *path)
    for step in steps[:-1]:
        holder = holder[step]
    if new is ...:
        del holder[steps[-1]]
    else:
        holder[steps[-1]] = new
    return spec[""]


def path_text(path: tuple[str | int, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def findings_of(spec: object) -> tuple[Finding, ...]:
    """Return why `spec` is refused, after checking what each refusal promises."""
    with pytest.raises(WorldRefused) as seen:
        admit(spec)
    refusal = seen.value
    assert refusal.code == "schema_validation_failed"
    assert 1 <= len(refusal.findings) <= MAX_FINDINGS
    assert str(refusal).startswith("world specification refused: $")
    assert all(len(finding.message) < 200 for finding in refusal.findings)
    return refusal.findings


OBJECTS = [path for path, value in parts(world()) if isinstance(value, dict)]
OPTIONAL = {("quests",), *((("entities", i, "components", "script")) for i in (0, 1))}
REQUIRED = [
    path
    for path, _ in parts(world())
    if path and isinstance(path[-1], str) and path not in OPTIONAL
]
ROTATION = ("entities", 0, "transform", "rotation", 1)
COLOR = ("entities", 1, "material", "color", 2)
SCALE = ("entities", 0, "transform", "scale", 0)


# What passes.


def test_a_good_world_is_admitted_with_its_text_digest_and_jobs() -> None:
    spec = world()
    admitted = admit(spec)
    assert admitted.spec == spec
    assert json.loads(admitted.text) == spec
    assert " <b>garden</b>" in admitted.text
    assert len(admitted.text) <= len(json.dumps(spec, separators=(",", ":"), ensure_ascii=False))
    assert admitted.sha256 == hashlib.sha256(admitted.text.encode()).hexdigest()
    assert [job.job_type for job in admitted.jobs] == [
        "BUILD_SCENE",
        "LOAD_ASSETS",
        "SPAWN_ENTITY",
        "SPAWN_ENTITY",
    ]
    assert [job.finish for job in admitted.jobs] == [False, False, False, True]


@pytest.mark.parametrize("path", sorted(OPTIONAL, key=str), ids=path_text)
def test_what_is_optional_may_be_absent(path: tuple[str | int, ...]) -> None:
    assert admit(changed(path, ...)).jobs


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (ROTATION, -1_000_000),
        (COLOR, 1.0),
        (COLOR, -0.0),
        (SCALE, 10_000),
        (("scene", "id"), "scene_" + "a" * 58),
        (("world", "name"), "x" * 64),
        (("entities", 1, "id"), "0_" * 32),
        (("entities", 0, "components", "script"), ""),
    ],
    ids=str,
)
def test_values_at_their_bounds_pass(path: tuple[str | int, ...], value: Any) -> None:
    assert admit(changed(path, value)).jobs


def test_a_thousand_entities_pass_and_one_more_is_refused() -> None:
    names = [f"e{number}" for number in range(1_001)]
    assert len(admit(world(*names[:1_000])).jobs) == 1_002
    assert findings_of(world(*names))[0].path == "$.entities"


# What the schema refuses.


@pytest.mark.parametrize("path", REQUIRED, ids=path_text)
def test_each_required_key_is_missed_where_it_belongs(path: tuple[str | int, ...]) -> None:
    found = findings_of(changed(path, ...))
    assert Finding(path_text(path[:-1]), f'"{path[-1]}" is a required property') in found


@pytest.mark.parametrize(
    "key", ["jobs", "$ref", "x" * 300, "\u202e\r\n\x1b[31m<script>"], ids=ascii
)
@pytest.mark.parametrize("path", OBJECTS, ids=path_text)
def test_each_object_refuses_an_extra_key(path: tuple[str | int, ...], key: str) -> None:
    spec = world()
    target: Any = spec
    for step in path:
        target = target[step]
    target[key] = {"$ref": "https://example.org/schema.json"}
    (found,) = findings_of(spec)
    assert found.path == path_text(path)
    assert found.message.startswith("unknown keys are refused: '")
    assert found.message.isprintable()
    assert len(found.message.removeprefix("unknown keys are refused: ")) <= 80


@pytest.mark.parametrize("path", [path for path, _ in parts(world())], ids=path_text)
@pytest.mark.parametrize("value", [None, True, {}, [], "x" * 201, {"$ref": "#"}, 1e308], ids=str)
def test_no_place_takes_just_anything(path: tuple[str | int, ...], value: Any) -> None:
    if path == ("quests",) and value == []:
        assert admit(changed(path, value)).jobs
        return
    found = findings_of(changed(path, value))
    assert any(finding.path.startswith(path_text(path)) for finding in found)


@pytest.mark.parametrize("key", ["jobs", "job_id", "status", "job_type", "build_id", "user_id"])
def test_what_only_the_hub_decides_is_refused_from_a_client(key: str) -> None:
    assert findings_of(world() | {key: "x"})[0].path == "$"


ID_PATHS = [
    (("world", "id"), "world_1"),
    (("scene", "id"), "scene_1"),
    (("quests", 0, "id"), "quest_1"),
    (("quests", 0, "triggerEntity"), "door"),
    (("entities", 0, "id"), "door"),
    (("entities", 0, "components", "script"), "patrol"),
    (("scene", "skybox"), "dusk"),
    (("entities", 0, "material", "shader"), "standard"),
    (("entities", 1, "material", "texture"), "brick"),
    (("entities", 1, "components", "mesh"), "box"),
]
HOSTILE_NAMES = [
    "{}\n", "\n{}", "{} ", "{}\r", "{}\u2028", "É{}", "{}é", "{}\u0301", "{}\u202e", "{}-1",
    "../../etc/passwd", "/{}", "C:\\{}", "file:///{}", "https://example.org/{}", "//{}", "${{x}}",
    "{{{{{}}}}}", "$(id)", "`id`", "{};", "'{}", '"{}', "<{}>", "=cmd()", "%00{}", "{}%0a", "{}*",
    "{}\x00", "{}.glb",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
@pytest.mark.parametrize(("path", "good"), ID_PATHS, ids=str)
def test_identifiers_and_symbols_are_names_and_never_text_to_interpret(
    path: tuple[str | int, ...], good: str, name: str
) -> None:
    found = findings_of(changed(path, name.format(good)))
    assert found[0].path == path_text(path)
    assert found[0].message.startswith('the value does not match "^')


@pytest.mark.parametrize(("path", "good"), ID_PATHS, ids=str)
def test_identifiers_in_upper_case_empty_or_too_long_are_refused(
    path: tuple[str | int, ...], good: str
) -> None:
    may_be_empty = path[-1] == "script"
    for name in [good.upper(), good + "a" * 65, *([] if may_be_empty else [""])]:
        assert findings_of(changed(path, name))[0].path == path_text(path)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), True, "1", None, 1.0000001, -0.0001, [1], 2**53], ids=str
)
def test_a_colour_is_a_number_from_0_to_1(value: Any) -> None:
    assert findings_of(changed(COLOR, value))[0].path == "$.entities[1].material.color[2]"


@pytest.mark.parametrize(
    "value", [0, -1, 0.00009, 10_000.1, 1e308, -1e308, 1e-320, float("nan"), "1", False], ids=str
)
def test_a_scale_is_a_number_within_its_bounds(value: Any) -> None:
    assert findings_of(changed(SCALE, value))[0].path == "$.entities[0].transform.scale[0]"


@pytest.mark.parametrize(
    "value", [1_000_000.5, -1_000_001, 1e308, 10**400, float("-inf")], ids=repr
)
def test_a_place_is_within_the_largest_world(value: Any) -> None:
    assert findings_of(changed(ROTATION, value))[0].path in {"$", path_text(ROTATION)}


@pytest.mark.parametrize("numbers", [[], [1, 2], [1, 2, 3, 4]], ids=str)
def test_a_vector_has_three_numbers(numbers: list[int]) -> None:
    assert findings_of(changed(("world", "gravity"), numbers))[0].path == "$.world.gravity"


@pytest.mark.parametrize("version", [1.0, 1, "1", "1.0 ", "1.0\n", "1.1", "2.0", ["1.0"], None])
def test_the_schema_version_is_the_text_1_0(version: Any) -> None:
    (found,) = findings_of(changed(("schema_version",), version))
    assert found == Finding("$.schema_version", '"1.0" was expected')


@pytest.mark.parametrize("entities", [[], {}, None, "door", [[]]], ids=str)
def test_a_world_has_entities(entities: Any) -> None:
    assert findings_of(changed(("entities",), entities))[0].path.startswith("$.entities")


@pytest.mark.parametrize(
    "spec", [None, True, 1, "x", [], [world()], {}, json.dumps(world())], ids=type
)
def test_a_world_is_an_object(spec: object) -> None:
    assert findings_of(spec)[0].path == "$"


@pytest.mark.parametrize(
    "spec", [{1, 2}, b"{}", {"world": "\ud800"}, {"\ud800": 1}, object()], ids=type
)
def test_what_no_reader_of_json_makes_is_refused_and_not_an_accident(spec: object) -> None:
    assert findings_of(spec) == (Finding("$", "this is not a JSON value"),)


# What the schema cannot say.


def test_two_entities_of_one_name_are_refused() -> None:
    found = findings_of(world("door", "guard", "door"))
    assert found == (Finding("$.entities[2].id", "'door' is already the id of $.entities[0]"),)


def test_a_quest_on_an_unknown_entity_is_refused() -> None:
    (found,) = findings_of(changed(("quests", 0, "triggerEntity"), "ghost"))
    assert found == Finding("$.quests[0].triggerEntity", "there is no entity with the id 'ghost'")


# How a refusal reads.


def test_of_many_findings_the_first_twenty_are_told() -> None:
    spec = world(*(f"E{number}" for number in range(500)))
    found = findings_of(spec)
    assert len(found) == MAX_FINDINGS == 20
    assert len(findings_of(world(*["same"] * 500))) == 20


def test_a_refusal_reads_as_a_sentence() -> None:
    spec = changed(COLOR, 2)
    spec["scene"]["skybox"] = "https://example.org/secret"
    with pytest.raises(WorldRefused) as seen:
        admit(spec)
    assert str(seen.value) == (
        'world specification refused: $.scene.skybox: the value does not match "^[a-z0-9]'
        '[a-z0-9_]{0,63}$" (and 1 more)'
    )


@settings(max_examples=50)
@given(st.sampled_from([path for path, _ in parts(world())]), st.text(min_size=201, max_size=300))
def test_a_refusal_repeats_no_long_input(path: tuple[str | int, ...], text: str) -> None:
    for finding in findings_of(changed(path, text)):
        assert text[:81] not in finding.message + finding.path


def test_a_refused_world_stays_as_it_was() -> None:
    spec = changed(COLOR, 2)
    before = copy.deepcopy(spec)
    findings_of(spec)
    assert spec == before


# The frozen schema and the bounds that follow from it.


def test_the_schema_is_the_frozen_one() -> None:
    assert load_schema()["title"] == "World specification 1.0 (frozen)"


def test_a_changed_schema_is_refused_and_nothing_starts_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "contracts/world_spec.v1.schema.json"
    raw = (resources.files("engine") / name).read_bytes()
    (tmp_path / "contracts").mkdir()
    edited = raw + b"\n"
    (tmp_path / name).write_bytes(edited)
    monkeypatch.setattr(resources, "files", {"engine": tmp_path}.get)
    with pytest.raises(SchemaChanged) as seen:
        load_schema()
    assert str(seen.value) == (
        f"the world schema has SHA-256 {hashlib.sha256(edited).hexdigest()}, "
        f"but {hashlib.sha256(raw).hexdigest()} is the frozen one"
    )
    for compiled in (adapter._world_validator, adapter._job_validators):
        compiled.cache_clear()
        with pytest.raises(SchemaChanged):
            compiled()
    with pytest.raises(SchemaChanged):
        world_actions(Coordinator(), HubSettings())  # as the server is composed


def largest(schema: dict[str, Any], root: dict[str, Any]) -> int:
    """Return how many values the largest document of a schema has."""
    if "$ref" in schema:
        return largest(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if schema.get("type") == "array":
        return 1 + int(schema["maxItems"]) * largest(schema["items"], root)
    return 1 + sum(largest(inner, root) for inner in schema.get("properties", {}).values())


def test_the_bounds_leave_room_for_twice_the_largest_world() -> None:
    schema = load_schema()
    assert Bounds(nodes=2 * largest(schema, schema)) == WORLD_BOUNDS


def test_a_world_somewhat_too_large_is_read_so_that_the_schema_names_the_fault() -> None:
    spec = world(*(f"e{number}" for number in range(1_500)))
    payload: Any = loads(json.dumps({"spec": spec}), bounds=WORLD_BOUNDS)
    assert findings_of(payload["spec"])[0].path == "$.entities"
    with pytest.raises(TooManyNodes):
        loads(json.dumps({"spec": [0] * 60_000}), bounds=WORLD_BOUNDS)
