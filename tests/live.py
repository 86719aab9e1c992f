"""A real hub in a process of its own, for tests over real sockets."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests import leaks

CHECKOUT = Path(__file__).resolve().parent.parent
MANAGE = CHECKOUT / "manage.py"
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 20.0
PASSWORD = "a-long-walk-by-the-river"
GREETING = "http://"


class LiveHub:
    """``manage.py serve`` (or another command) on a free port with a data directory of its own.

    ``settings`` become environment variables: ``LiveHub(HUB_INACTIVE_AFTER_S="1")``.
    """

    program = MANAGE
    """What is run to serve; a test that needs another program says so in a subclass."""

    def __init__(self, *command: str, data_dir: Path | None = None, **settings: str) -> None:
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="hub-live-"))
        self.environ = {
            **{key: value for key, value in os.environ.items() if not _is_ours(key)},
            "HUB_DATA_DIR": str(self.data_dir),
            "DEBUG": "0",
            "HUB_DEVELOPMENT_KEYS": "1",
            "PYTHONWARNINGS": "default",
            **settings,
        }
        self.command = command or ("serve", "--port", "0")
        self.lines: list[str] = []
        self.url = ""
        self._listening = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.manage("migrate", "--verbosity", "0")
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # -- the process

    def start(self) -> None:
        """Start the process and wait until it says where it listens."""
        if self._reader is not None:
            self._reader.join()
        self._listening.clear()
        self.url = ""
        self._process = subprocess.Popen(
            [sys.executable, str(self.program), *self.command],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=CHECKOUT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listening.wait(STARTS_WITHIN_S)
        if not self.url:
            self.kill()
            raise AssertionError(f"the hub did not start:\n{self.output}")

    def stop(self) -> int:
        """SIGTERM, then wait; returns the exit code. What it leaves must hold no secret."""
        if self._process is None:
            return 0
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"the hub did not stop:\n{self.output}") from None
        self.search_for_secrets()
        return code

    def search_for_secrets(self) -> None:
        """Raises leaks.Found where a secret was printed or stored."""
        if (
            self._reader is not None
            and self._process is not None
            and self._process.poll() is not None
        ):
            self._reader.join(STOPS_WITHIN_S)
        secrets = leaks.secrets_of(self.data_dir, self.environ)
        leaks.search_text("what the hub printed", self.output, secrets)
        leaks.search_data(self.data_dir, self.environ, secrets)

    def signal(self, name: str) -> None:
        """Send a signal, and wait for nothing."""
        assert self._process is not None
        self._process.send_signal(signal.Signals[name])

    def kill(self) -> None:
        """SIGKILL: what a crash looks like."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that serves."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that the process has printed."""
        return "".join(self.lines)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line)
                if GREETING in line and not self._listening.is_set():
                    self.url = GREETING + line.partition(GREETING)[2].split("/")[0].split()[0]
                    self._listening.set()
        self._listening.set()  # it has ended; whoever waits may look

    # -- the command line

    def manage(self, *arguments: str, stdin: str = "", **environ: str) -> str:
        """Run a management command against the same data; returns standard output."""
        done = subprocess.run(
            [sys.executable, str(MANAGE), *arguments],
            env={**self.environ, **environ},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=CHECKOUT,
            timeout=STARTS_WITHIN_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add_person(self, name: str, *, staff: bool = False) -> dict[str, Any]:
        """A login with PASSWORD."""
        flags = ["--staff"] if staff else []
        said = self.manage(
            "person", "add", name, "--password-stdin", "--json", *flags, stdin=PASSWORD
        )
        person: dict[str, Any] = json.loads(said)
        return person

    def add_service(self, name: str, kind: str = "engine", *options: str) -> str:
        """A service account; returns its secret."""
        said = self.manage("service", "add", kind, name, "--json", *options)
        account: Mapping[str, str] = json.loads(said)
        return account["secret"]

    def query(self, code: str) -> Any:
        """Evaluate an expression over the models in a process of its own, as staff scripts do."""
        program = (
            "import json\n"
            "from security.models import *\n"
            "from engine.models import *\n"
            f"print(json.dumps({code}, default=str))\n"
        )
        return json.loads(self.manage("shell", "--no-imports", "-c", program).splitlines()[-1])

    def violations(self, **where: object) -> list[dict[str, Any]]:
        """The violation rows that match."""
        fields = "'kind', 'code', 'count', 'principal', 'event_type', 'detail', 'ip'"
        rows: list[dict[str, Any]] = self.query(
            f"list(Violation.objects.filter(**{where!r}).order_by('id').values({fields}))"
        )
        return rows


def _is_ours(variable: str) -> bool:
    return variable.startswith("HUB_") or variable in {
        "DATABASE_URL",
        "REDIS_URL",
        "DEBUG",
        "DJANGO_SECRET_KEY",
        "DJANGO_SETTINGS_MODULE",
    }
