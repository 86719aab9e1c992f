"""The console in a browser window of its own, with everything that its tests look at."""

import base64
import json
import re
from typing import Any, Self

from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocket, expect

__all__ = ["ConsolePage", "watch_for_faults"]

SOON_MS = 15_000
EVENT_PREFIX = "42"  # Engine.IO message, Socket.IO EVENT on "/"

NOTE_POLICY_VIOLATIONS = """
window.policyViolations = [];
document.addEventListener("securitypolicyviolation", (violation) => {
  window.policyViolations.push(`${violation.violatedDirective} ${violation.blockedURI}`);
});
"""

# One entry per change of the list: the type and state of every job that is shown.
WATCH_JOBS = """
() => {
  window.jobsSeen = [];
  const look = () => window.jobsSeen.push(
    [...document.querySelectorAll("[data-testid=job-list] > li")]
      .map(({ dataset }) => [dataset.type, dataset.status]));
  new MutationObserver(look).observe(
    document.querySelector("[data-testid=build-list]"), { childList: true, subtree: true });
}
"""

COUNT_COLOURS = """
async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"),
    { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return new Set(new Uint32Array(data.buffer)).size;
}
"""


def watch_for_faults(page: Page, faults: list[str]) -> None:
    """Note errors of scripts and of the browser itself: failed loads, breaches of the policy."""
    page.add_init_script(NOTE_POLICY_VIOLATIONS)
    page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)


class ConsolePage:
    """One person's window. ``events`` are the hub's events as they came over the WebSocket."""

    def __init__(self, browser: Browser, url: str, *, width: int = 1280, height: int = 900) -> None:
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SOON_MS)
        self.faults: list[str] = []
        self.events: list[tuple[str, Any]] = []
        watch_for_faults(self.page, self.faults)
        self.page.on("websocket", self._listen)
        self.origin = url
        self.credentials: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.page.goto(self.origin)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.context.close()

    def find(self, testid: str) -> Locator:
        """The element with this ``data-testid``."""
        return self.page.get_by_test_id(testid)

    def sign_in(self, name: str, password: str) -> None:
        """Through the form, until the socket is connected."""
        self.credentials = {"username": name, "password": password}
        self.find("username").fill(name)
        self.find("password").fill(password)
        self.find("sign-in").click()
        expect(self.find("connection-state")).to_have_text("connected", timeout=SOON_MS)

    def act(self, kind: str, words: str) -> None:
        """Press a button of the action pad."""
        self.find("action-words").fill(words)
        self.find(f"action-{kind}").click()
        expect(self.find("action-status")).to_contain_text(f"{kind}: accepted")

    def build(self, sample: str) -> Locator:
        """Submit a sample world; returns the build's entry in the list."""
        self.find("world-sample").select_option(sample)
        expect(self.find("world-editor")).to_have_value(re.compile(f'"id": "world_{sample}"'))
        self.find("world-submit").click()
        expect(self.find("world-status")).to_contain_text("Accepted")
        return self.find("build-list").locator(":scope > li").first

    def watch_jobs(self) -> None:
        """From now on, keep what the list of jobs showed after each change."""
        self.page.evaluate(WATCH_JOBS)

    def jobs_seen(self) -> list[list[tuple[str, str]]]:
        """What the list of jobs showed, in order."""
        seen: list[list[list[str]]] = self.page.evaluate("() => window.jobsSeen")
        return [[(kind, state) for kind, state in jobs] for jobs in seen]

    def colours_of(self, locator: Locator) -> int:
        """How many colours an element shows."""
        picture = base64.b64encode(locator.screenshot()).decode()
        count: int = self.page.evaluate(COUNT_COLOURS, f"data:image/png;base64,{picture}")
        return count

    def all(self, event: str) -> list[Any]:
        """The data of every event of a name."""
        return [data for name, data in self.events if name == event]

    def policy_violations(self) -> list[str]:
        """Breaches of the Content-Security-Policy."""
        found: list[str] = self.page.evaluate("() => window.policyViolations")
        return found

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._receive)

    def _receive(self, frame: str | bytes) -> None:
        if isinstance(frame, str) and frame.startswith(EVENT_PREFIX):
            name, *args = json.loads(frame.removeprefix(EVENT_PREFIX))
            self.events.append((name, args[0] if args else None))
