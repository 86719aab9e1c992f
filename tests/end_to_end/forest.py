"""The forest, a sample world of the console, and what must be true of every build of it."""

import itertools
import json
from typing import Any

from tests.live import CHECKOUT

__all__ = ["FOREST", "FOREST_JOBS", "STAGES", "assert_stages_were_in_order", "forest"]

FOREST = CHECKOUT / "realtime" / "static" / "realtime" / "worlds" / "forest.json"
STAGES = ("BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY")
FOREST_JOBS = 14  # one scene, one load of assets, twelve entities


def forest() -> dict[str, Any]:
    """The specification."""
    spec: dict[str, Any] = json.loads(FOREST.read_text("utf-8"))
    return spec


def assert_stages_were_in_order(jobs: list[dict[str, Any]]) -> None:
    """No job of a stage was given out before the last one of the stage before it was finished."""
    done = [job for job in jobs if job["status"] == "completed"]
    stages = [[job for job in done if job["job_type"] == job_type] for job_type in STAGES]
    assert [len(stage) for stage in stages] == [1, 1, FOREST_JOBS - 2]
    for before, after in itertools.pairwise(stages):
        finished = max(job["finished_at"] for job in before)
        assert finished <= min(job["dispatched_at"] for job in after)
