"""Development's ``runserver`` under Daphne: the page loads, signs in and acts; so does a client."""

import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.end_to_end.console_page import ConsolePage
from tests.live import PASSWORD, LiveHub

pytestmark = pytest.mark.timeout(300)  # several processes start in it, on a busy machine slowly

UP_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def daphne(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """``runserver`` says its address before it listens, and takes no port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*probe.getsockname())
    command = ("runserver", "--noreload", address)
    with LiveHub(*command, data_dir=tmp_path_factory.mktemp("daphne"), DEBUG="1") as hub:
        await_answer(hub)
        hub.add_person("ada")
        yield hub


def await_answer(hub: LiveHub) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{hub.url}/healthz", timeout=5):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.1)  # there is no event to wait for: nobody listens yet
    raise AssertionError(hub.output)


def test_the_console_works_under_runserver(browser: Browser, daphne: LiveHub) -> None:
    with (
        ConsolePage(browser, daphne.url) as near,
        ConsolePage(browser, daphne.url) as far,
    ):
        for window in (near, far):
            window.sign_in("ada", PASSWORD)
        near.act("speak", "over Daphne")
        shown = far.find("action-log").locator("[data-user=ada][data-type=speak]")
        expect(shown).to_contain_text("over Daphne")
        near.find("replay-last").click()
        expect(near.find("hostile-verdict")).to_contain_text("replay_detected")
        for window in (near, far):
            assert window.faults == []
            assert window.policy_violations() == []
