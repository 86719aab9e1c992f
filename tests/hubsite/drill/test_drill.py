"""The drill finds no gap in the hub as it is, and a gap in one whose control is switched off."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from hubsite.drill.matrix import CONTROLS, SCENARIOS
from tests.live import MANAGE, PASSWORD, LiveHub

WITHIN_S = 110.0


class UnsafeHub(LiveHub):
    """A hub without one of its controls."""

    program = Path(__file__).with_name("unsafe_manage.py")

    def __init__(self, empty: Path, **settings: str) -> None:
        super().__init__(**settings)
        shutil.copytree(empty, self.data_dir, dirs_exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self


def drill(hub: LiveHub, *words: str, stdin: str = "") -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, str(MANAGE), "security_drill", "--json", "--url", hub.url, *words],
        env=hub.environ,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a migrated database: migrating takes longer than a drill."""
    template = LiveHub(data_dir=tmp_path_factory.mktemp("empty"))
    template.manage("migrate", "--verbosity", "0")
    return template.data_dir


@pytest.fixture(scope="module")
def hub() -> Iterator[LiveHub]:
    with LiveHub() as live:
        yield live


@pytest.mark.xdist_group("drill")
def test_every_control_of_the_hub_holds_and_the_result_is_kept(
    hub: LiveHub, tmp_path: Path
) -> None:
    code, found = drill(hub, "--html", str(tmp_path / "matrix.html"))
    assert [each for each in found["results"] if not each["held"]] == []
    assert (code, found["ok"], found["scenarios"]) == (0, True, len(SCENARIOS))
    page = (tmp_path / "matrix.html").read_text()
    assert page.count("<tr") == len(SCENARIOS) + 1
    assert "no gap" in page
    (kept,) = hub.query("list(DrillRun.objects.values('scenarios', 'gaps', 'url'))")
    assert kept == {"scenarios": len(SCENARIOS), "gaps": 0, "url": hub.url}
    # the cast is gone, and what it did is on record
    left = "[each.objects.count() for each in (User, ServiceAccount, EngineSession)]"
    assert hub.query(left) == [0, 0, 0]
    assert hub.violations(kind="replay_detected")


@pytest.mark.xdist_group("drill")
def test_a_hub_elsewhere_is_drilled_by_a_login(hub: LiveHub) -> None:
    hub.add_person("mallory")
    words = ["--username", "mallory", "--password-stdin", "--only", "signature"]
    code, found = drill(hub, *words, "--only", "engine signature", stdin=PASSWORD)
    assert (code, found["gaps"]) == (0, 0)
    assert {each["control"] for each in found["results"]} == {"signature"}
    assert all(name.startswith("engine signature") for name in found["skipped"])
    assert len(found["skipped"]) == 3


@pytest.mark.xdist_group("drill")
def test_where_no_hub_answers_the_exit_code_is_2(hub: LiveHub) -> None:
    done = subprocess.run(
        [sys.executable, str(MANAGE), "security_drill", "--url", "http://127.0.0.1:9"],
        env=hub.environ, capture_output=True, text=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    assert (done.returncode, "No hub answers" in done.stderr) == (2, True)


SHOWN_BY = {
    **{control: (control,) for control in CONTROLS if not control.startswith("engine ")},
    **{
        control: (control, f"engine {control}")
        for control in ("signature", "envelope", "window", "replay")
    },
    "engine door": ("engine door",),
}
"""By control that is switched off, the controls that must show a gap."""


@pytest.mark.parametrize("control", SHOWN_BY)
def test_a_control_that_is_switched_off_is_a_gap(control: str, empty: Path) -> None:
    shown = SHOWN_BY[control]
    with UnsafeHub(empty, DRILL_WITHOUT=control) as hub:
        code, found = drill(hub, *(word for name in shown for word in ("--only", name)))
    assert code == 1
    assert {each["control"] for each in found["results"] if not each["held"]} == set(shown)


def test_a_refusal_without_a_record_is_a_gap(empty: Path) -> None:
    with UnsafeHub(empty, DRILL_WITHOUT="records") as hub:
        code, found = drill(hub, "--only", "type")
    assert code == 1
    assert found["results"][0]["seen"] == "unknown_type, and no record of it"


def test_every_control_is_switched_off_by_some_test() -> None:
    assert {name for shown in SHOWN_BY.values() for name in shown} == set(CONTROLS)
