"""The system's Chromium, headless, driven by Playwright."""

from playwright.sync_api import Browser, Playwright

from tests.end_to_end.tools import require_program

__all__ = ["launch"]

# It must not look for its maker's hosts, nor need a sandbox or a graphics card of its own.
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]


def launch(playwright: Playwright) -> Browser:
    """Start it; skips the test where there is none."""
    program = require_program("chromium", "chromium-browser", "google-chrome")
    return playwright.chromium.launch(executable_path=program, args=FLAGS)
