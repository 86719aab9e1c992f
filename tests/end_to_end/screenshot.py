"""Take the README's pictures: ``python -m tests.end_to_end.screenshot docs``.

A real demo, two people in two windows, a finished forest, a second world under way:
``console.png``; and the forest in the viewer: ``world.png``.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.end_to_end.chromium import launch
from tests.end_to_end.console_page import ConsolePage
from tests.end_to_end.demo import Demo

BUILD_MS = 60_000
CONVERSATION = (
    ("speak", "Shall we build a forest?"),
    ("emote", "wave"),
    ("inspect", "the cabin"),
    ("navigate", "the pond"),
    ("call_npc", "fox"),
)


def main(target: Path) -> None:
    """Run the demo, stage the scene, write the pictures into a folder."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = launch(playwright)
        with (
            Demo(Path(folder), "--no-traffic") as demo,
            ConsolePage(browser, demo.url) as ada,
            ConsolePage(browser, demo.url) as grace,
        ):
            ada.sign_in("ada", demo.logins["ada"])
            grace.sign_in("grace", demo.logins["grace"])
            stage(ada, grace)
            ada.page.screenshot(path=target / "console.png")
            open_world(ada)
            ada.find("viewer").screenshot(path=target / "world.png")
        browser.close()


def stage(ada: ConsolePage, grace: ConsolePage) -> None:
    """Something to look at: words, a world in 3D, a refusal, and a world half built."""
    forest = ada.build("forest")
    for kind, words in CONVERSATION:
        grace.act(kind, words)
    expect(forest).to_have_attribute("data-status", "completed", timeout=BUILD_MS)
    ada.act("speak", "It is ready: look!")
    ada.find("replay-last").click()
    expect(ada.find("hostile-verdict")).to_contain_text("replay_detected")
    volcano = ada.build("volcano")
    done = volcano.locator("[data-testid=job-list] > [data-status=completed]")
    expect(done).to_have_count(6, timeout=BUILD_MS)


def open_world(ada: ConsolePage) -> None:
    """The forest, which is the build below the one under way."""
    ada.find("open-3d").last.click()
    expect(ada.find("viewer")).to_have_attribute("data-nodes", "12")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
