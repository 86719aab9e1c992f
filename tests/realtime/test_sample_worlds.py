"""The sample worlds are valid against the frozen contract and hold what people are told."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

ROOT = Path(__file__).parents[2]
WORLDS = sorted((ROOT / "realtime" / "static" / "realtime" / "worlds").glob("*.json"))
SCHEMA = ROOT / "engine" / "contracts" / "world_spec.v1.schema.json"
MESHES = {"box", "sphere", "capsule", "cylinder", "cone", "plane", "pyramid"}


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_there_are_four_samples() -> None:
    assert [path.stem for path in WORLDS] == ["desert", "forest", "ocean", "volcano"]


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_a_sample_is_valid_against_the_frozen_schema(path: Path) -> None:
    validator = jsonschema_rs.validator_for(load(SCHEMA))
    assert [error.message for error in validator.iter_errors(load(path))] == []


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_a_sample_keeps_the_rules_that_a_schema_cannot_say(path: Path) -> None:
    world = load(path)
    ids = [entity["id"] for entity in world["entities"]]
    assert len(set(ids)) == len(ids)
    assert {quest["triggerEntity"] for quest in world["quests"]} <= set(ids)


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_a_sample_uses_meshes_that_every_engine_knows(path: Path) -> None:
    assert {entity["components"]["mesh"] for entity in load(path)["entities"]} <= MESHES


def test_the_forest_has_exactly_twelve_entities() -> None:
    (forest,) = (path for path in WORLDS if path.stem == "forest")
    assert len(load(forest)["entities"]) == 12
