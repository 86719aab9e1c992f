"""The browser's signing module reproduces every vector of the signing contract, run by Node."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VECTORS = ROOT / "tests" / "contracts" / "signing_vectors.json"
MODULE = ROOT / "realtime" / "static" / "realtime" / "signing.js"


@pytest.fixture(scope="module")
def verdict() -> dict[str, Any]:
    node = shutil.which("node")
    assert node, "Node.js 20 or newer must be on PATH: it runs the browser's module here"
    run = subprocess.run(
        [node, HERE / "signing_vectors.mjs", VECTORS, MODULE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seen: dict[str, Any] = json.loads(run.stdout)
    return seen


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    contract: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return contract


def test_the_browser_disagrees_with_no_vector(verdict: dict[str, Any]) -> None:
    assert verdict["disagreements"] == []


def test_every_vector_of_the_contract_was_tried(
    verdict: dict[str, Any], vectors: dict[str, Any]
) -> None:
    signatures = vectors["signatures"]
    assert verdict["agreed"] == {
        "keys": 2 * len(vectors["key_schedule"]),
        "mac_inputs": sum("mac_input_hex" in row for row in signatures),
        "signatures": len(signatures),
    }
