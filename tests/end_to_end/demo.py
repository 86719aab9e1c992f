"""``manage.py demo`` in a process of its own, as a newcomer starts it in a terminal."""

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from tests import leaks
from tests.live import CHECKOUT, MANAGE, STARTS_WITHIN_S, STOPS_WITHIN_S

__all__ = ["Demo"]

ADDRESS = re.compile(r"The hub is up: (http://\S+?)/?\s+admin: (http://\S+)")
LOGIN = re.compile(r"^  (ada|grace|admin)\s+(\S+)$")
LAST_LINE = "Ctrl-C ends"
MARK = "DEMO_OF_A_TEST"  # inherited by every process that the demo starts
OURS = ("HUB_", "DATABASE_URL", "REDIS_URL", "DEBUG", "DJANGO_")


class Demo:
    """Reads what the demo prints: ``url``, ``admin_url`` and ``logins``."""

    def __init__(self, data_dir: Path, *flags: str) -> None:
        self.data_dir = data_dir
        self.url = self.admin_url = ""
        self.logins: dict[str, str] = {}
        self.lines: list[str] = []
        self._flags = flags
        self._mark = secrets.token_hex(16)
        self._up = threading.Event()
        self._process: subprocess.Popen[str]
        self._reader: threading.Thread

    def __enter__(self) -> Self:
        # A terminal's Ctrl-C goes to its foreground group, so the demo gets one of its own.
        self._process = subprocess.Popen(
            [sys.executable, str(MANAGE), "demo", *self._options()],
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=CHECKOUT,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._up.wait(STARTS_WITHIN_S) or not self.logins:
            self._kill()
            raise AssertionError(f"the demo did not come up:\n{self.output}")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process.poll() is None:
            self.interrupt()

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, or another signal, to the whole foreground group; returns the exit code."""
        os.killpg(self._process.pid, number)
        try:
            code = self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._kill()
            raise AssertionError(f"the demo did not stop:\n{self.output}") from None
        self._reader.join(STOPS_WITHIN_S)
        hidden = leaks.secrets_of(self.data_dir, {})
        leaks.search_text("what the demo printed", self.output, hidden)
        leaks.search_data(self.data_dir, {}, hidden)
        return code

    @property
    def processes(self) -> list[int]:
        """The live processes of the demo's tree, orphans among them."""
        mark = f"{MARK}={self._mark}\0".encode()
        return [int(folder.name) for folder in Path("/proc").iterdir() if _has(folder, mark)]

    @property
    def output(self) -> str:
        """Everything that the demo has printed."""
        return "".join(self.lines)

    def _options(self) -> list[str]:
        return ["--port", "0", "--data-dir", str(self.data_dir), *self._flags]

    def _environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        return {**kept, MARK: self._mark}

    def _kill(self) -> None:
        for pid in self.processes:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line)
                self._understand(line)
        self._up.set()  # it has ended; whoever waits for it may look

    def _understand(self, line: str) -> None:
        if found := ADDRESS.search(line):
            self.url, self.admin_url = found.groups()
        if found := LOGIN.search(line.rstrip()):
            self.logins[found[1]] = found[2]
        if LAST_LINE in line:
            self._up.set()


def _has(folder: Path, mark: bytes) -> bool:
    try:
        return folder.name.isdigit() and mark in (folder / "environ").read_bytes()
    except OSError:  # it ended meanwhile, or is somebody else's
        return False
