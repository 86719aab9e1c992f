"""A newcomer's tour: the printed address, a login, others, a world in 3D, a refusal, the admin.

The steps share one demo and one window per person; each step that others need is a fixture.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from playwright.sync_api import Browser, Locator, Page, expect

from tests.end_to_end.console_page import ConsolePage, watch_for_faults
from tests.end_to_end.demo import Demo
from tests.end_to_end.forest import FOREST_JOBS, STAGES, assert_stages_were_in_order, forest

pytestmark = pytest.mark.timeout(300)  # several processes start in it, on a busy machine slowly

BUILD_MS = 60_000
TRAFFIC_MS = 30_000
SCENERY_COLOURS = 500  # far more than a blank canvas or a plain sky has
METRE = 1e-4


@pytest.fixture(scope="module")
def ada(browser: Browser, demo: Demo) -> Iterator[ConsolePage]:
    with ConsolePage(browser, demo.url) as window:
        window.sign_in("ada", demo.logins["ada"])
        yield window


@pytest.fixture(scope="module")
def grace(browser: Browser, demo: Demo) -> Iterator[ConsolePage]:
    with ConsolePage(browser, demo.url) as window:
        window.sign_in("grace", demo.logins["grace"])
        yield window


@pytest.fixture(scope="module")
def build(ada: ConsolePage) -> Locator:
    """A forest, built before our eyes."""
    ada.watch_jobs()
    entry = ada.build("forest")
    expect(entry).to_have_attribute("data-status", "completed", timeout=BUILD_MS)
    return entry


@pytest.fixture(scope="module")
def violation(ada: ConsolePage) -> str:
    """A captured message, sent once more; returns the verdict that the page shows."""
    ada.act("speak", "hello")
    ada.find("replay-last").click()
    expect(ada.find("hostile-verdict")).to_contain_text("replay_detected")
    return ada.find("hostile-verdict").inner_text()


@pytest.fixture(scope="module")
def admin(ada: ConsolePage, demo: Demo, build: Locator, violation: str) -> Iterator[Page]:
    """The admin, signed in to after the deeds above."""
    page = ada.context.new_page()
    page.goto(demo.admin_url)
    page.fill("#id_username", "admin")
    page.fill("#id_password", demo.logins["admin"])
    page.click("[type=submit]")
    expect(page.locator("#user-tools")).to_contain_text("admin", ignore_case=True)
    yield page
    page.close()


def ask(ada: ConsolePage, path: str) -> Any:
    """The API's answer to ada, asked with a token of her own."""
    token = ada.page.request.post(f"{ada.origin}/api/token/", data=ada.credentials).json()["access"]
    answer = ada.page.request.get(
        f"{ada.origin}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.ok, answer.text()
    return answer.json()


def test_the_others_are_shown_and_what_they_do(ada: ConsolePage) -> None:
    present = ada.find("presence-list")
    expect(present.locator("[data-user=ada]")).to_contain_text("ada (you)")
    expect(present.locator("[data-user=grace]")).to_have_attribute("data-state", "active")
    wandering = ada.find("action-log").locator("[data-user=grace]")
    expect(wandering.first).to_be_visible(timeout=TRAFFIC_MS)


@pytest.mark.parametrize("kind", ["click", "inspect", "speak", "call_npc", "navigate", "emote"])
def test_a_signed_action_appears_in_another_window(
    ada: ConsolePage, grace: ConsolePage, kind: str
) -> None:
    words = f"{kind} by ada <b>unescaped</b>"
    ada.act(kind, words)
    shown = grace.find("action-log").locator(f"[data-user=ada][data-type={kind}]").first
    expect(shown).to_contain_text(words)


def test_a_world_of_twelve_entities_is_fourteen_jobs(ada: ConsolePage, build: Locator) -> None:
    expect(build.locator("[data-testid=job-list] > li")).to_have_count(FOREST_JOBS)
    expect(build).to_contain_text("Whispering Forest")
    expect(build).to_contain_text("14 of 14 jobs done")


def test_the_page_shows_the_stages_one_after_another(ada: ConsolePage, build: Locator) -> None:
    seen = [jobs for jobs in ada.jobs_seen() if len(jobs) == FOREST_JOBS]
    assert {state for jobs in seen for _, state in jobs} >= {"queued", "running", "completed"}
    for jobs in seen:
        begun = {kind for kind, state in jobs if state != "queued"}
        unfinished = {kind for kind, state in jobs if state != "completed"}
        for place, kind in enumerate(STAGES):
            assert kind not in begun or not unfinished & set(STAGES[:place]), jobs


def test_the_api_tells_the_same_order(ada: ConsolePage, build: Locator) -> None:
    told = ask(ada, f"/api/builds/{build.get_attribute('data-build')}/")
    assert told["status"] == "completed"
    assert len(told["jobs"]) == FOREST_JOBS
    assert_stages_were_in_order(told["jobs"])


def test_there_is_exactly_one_world_update_and_it_comes_last(
    ada: ConsolePage, build: Locator
) -> None:
    names = [name for name, _ in ada.events if name in {"job_status", "world_update"}]
    assert names.count("world_update") == 1
    assert names[-1] == "world_update"
    assert ada.all("world_update")[0]["build_id"] == build.get_attribute("data-build")


def test_the_world_opens_in_3d_and_its_file_has_every_entity_in_its_place(
    ada: ConsolePage, build: Locator, tmp_path: Path
) -> None:
    build.get_by_test_id("open-3d").click()
    viewer = ada.find("viewer")
    expect(viewer).to_have_attribute("data-nodes", "12")
    expect(ada.find("viewer-error")).to_be_empty()
    assert ada.colours_of(viewer.locator("canvas")) > SCENERY_COLOURS

    with ada.page.expect_download() as downloading:
        ada.find("viewer-download").click()
    file = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(file)
    ada.find("viewer-close").click()

    assert file.name == "whispering-forest.glb"
    assert_file_shows_the_forest(file)


def assert_file_shows_the_forest(file: Path) -> None:
    scene = trimesh.load_scene(file)
    entities = {entity["id"]: entity["transform"] for entity in forest()["entities"]}
    assert set(scene.graph.nodes_geometry) == set(entities)
    for name, transform in entities.items():
        matrix, _geometry = scene.graph.get(name)
        angles = np.radians(transform["rotation"])
        expected = trimesh.transformations.compose_matrix(translate=transform["position"])
        expected = expected @ trimesh.transformations.euler_matrix(*angles, axes="rxyz")
        expected = expected @ np.diag([*transform["scale"], 1.0])
        np.testing.assert_allclose(matrix, expected, atol=METRE, err_msg=name)


def test_a_replayed_message_is_refused_in_the_hostile_corner(
    ada: ConsolePage, violation: str
) -> None:
    assert violation == "Refused, as it should be: replay_detected"
    refused = ada.find("refusal-list").locator("[data-code=replay_detected]")
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("speak")


def test_staff_find_the_refusal_in_the_admin(admin: Page, demo: Demo) -> None:
    admin.goto(f"{demo.admin_url}security/violation/")
    row = admin.locator("#result_list tbody tr", has_text="replay_detected")
    expect(row).to_have_count(1)
    row.locator("a").first.click()
    content = admin.locator("#content")
    expect(content).to_contain_text("replay_detected")
    expect(content.locator("a", has_text=re.compile(r"^(\d+|ada)$")).first).to_be_visible()
    assert admin.locator("#content input[type=submit]").count() == 0  # a record can't be changed


def test_staff_see_builds_and_jobs_with_their_history(admin: Page, demo: Demo) -> None:
    admin.goto(f"{demo.admin_url}engine/build/")
    row = admin.locator("#result_list tbody tr", has_text="Whispering Forest")
    expect(row).to_contain_text("14 of 14")
    row.locator("a").first.click()
    expect(admin.locator("#content")).to_contain_text("SPAWN_ENTITY")

    admin.goto(f"{demo.admin_url}engine/job/?job_type__exact=BUILD_SCENE")
    admin.locator("#result_list tbody tr a").first.click()
    for event in ("dispatch", "start", "complete"):
        expect(admin.locator("#content")).to_contain_text(event)


def test_staff_see_the_engine_and_its_account(admin: Page, demo: Demo) -> None:
    admin.goto(f"{demo.admin_url}engine/enginesession/")
    expect(admin.locator("#result_list")).to_contain_text("reference-1")
    admin.goto(f"{demo.admin_url}security/serviceaccount/")
    expect(admin.locator("#result_list")).to_contain_text("reference-1")
    admin.goto(f"{demo.admin_url}security/auditentry/")
    expect(admin.locator("#result_list tbody tr").first).to_be_visible()


def test_the_admin_breaks_no_policy_and_loads_without_a_fault(admin: Page, demo: Demo) -> None:
    faults: list[str] = []
    watch_for_faults(admin, faults)
    for page in ("", "security/violation/", "engine/build/", "engine/job/"):
        admin.goto(f"{demo.admin_url}{page}")
    assert faults == []


def test_the_console_breaks_no_policy_and_logs_no_error(
    ada: ConsolePage, grace: ConsolePage, build: Locator, violation: str
) -> None:
    for window in (ada, grace):
        assert window.faults == []
        assert window.policy_violations() == []
