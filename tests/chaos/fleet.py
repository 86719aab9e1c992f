"""The processes of a chaos run: hubs, engines, and the servers under them; each can fall."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.live import CHECKOUT, MANAGE, PASSWORD, _is_ours
from tests.services import PostgresServer, RedisServer, free_port, own_postgres, own_redis

STARTS_WITHIN_S = 120.0  # many processes start at once, on a machine that does other things too
PACE_S = "0.2"  # of each job, so that faults find jobs under way

LIMITS = {
    "HUB_BUILDS_IN_FLIGHT": "6",
    "HUB_QUEUED_JOBS": "100000",
    "HUB_SOCKETS_PER_USER": "1000",
    "HUB_ACCESS_TOKEN_S": "7200",
    "HUB_LOG_LEVEL": "WARNING",
}
"""What would end a run for another reason than the one it looks for."""


class Process:
    """A program that can be killed, stopped and started again."""

    def __init__(
        self, kind: str, name: str, command: list[str], environ: Mapping[str, str]
    ) -> None:
        self.kind, self.name = kind, name
        self._command, self._environ = command, environ
        self._process: subprocess.Popen[bytes] | None = None
        self.log = Path(environ["HUB_DATA_DIR"]) / f"{name}.log"

    def start(self) -> None:
        """Start it; harmless while it runs."""
        if self._process is None or self._process.poll() is not None:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, str(MANAGE), *self._command],
                    env=dict(self._environ),
                    stdout=log,
                    stderr=log,
                    cwd=CHECKOUT,
                )

    def kill(self) -> None:
        """SIGKILL, also while it is stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def wait_until_up(self) -> None:
        """Wait until it serves, if it is something that does."""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


class Hub(Process):
    """``manage.py serve`` on a port of its own."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.port = free_port()
        super().__init__("hub", name, ["serve", "--port", str(self.port)], environ)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_up(self) -> None:
        """Wait until it accepts connections. Raises AssertionError."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.name} did not start:\n{self.log.read_text()[-3000:]}")


class Fleet:
    """Everything that runs. Use it as a context; it leaves nothing behind."""

    def __init__(self, *, hubs: int, engines: int, people: int, sqlite: bool) -> None:
        self.data_dir = Path(tempfile.mkdtemp(prefix="hub-chaos-"))
        self.redis: RedisServer | None = None
        self.postgres: PostgresServer | None = None
        self.environ = {
            **{key: value for key, value in os.environ.items() if not _is_ours(key)},
            **LIMITS,
            "HUB_DATA_DIR": str(self.data_dir),
            "HUB_DEVELOPMENT_KEYS": "1",
            "DEBUG": "0",
        }
        self.servers = {} if sqlite else self._servers()
        self.environ |= self.servers
        self.hubs = [Hub(f"hub-{index}", self.environ) for index in range(1 if sqlite else hubs)]
        self.people = [f"person-{index}" for index in range(people)]
        self._engines = engines
        self.engines: list[Process] = []

    def __enter__(self) -> Self:
        self.manage("migrate", "--verbosity", "0")
        for name in self.people:
            self.manage("person", "add", name, "--password-stdin", "--json", stdin=PASSWORD)
        for hub in self.hubs:
            hub.start()
        for hub in self.hubs:
            hub.wait_until_up()
        self.engines = [self._engine(index) for index in range(self._engines)]
        for engine in self.engines:
            engine.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in [*self.engines, *self.hubs]:
            process.kill()

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """Run a management command; returns standard output."""
        done = subprocess.run(
            [sys.executable, str(MANAGE), *arguments],
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=CHECKOUT,
            timeout=STARTS_WITHIN_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _servers(self) -> dict[str, str]:
        """Start PostgreSQL and Redis, with an empty database."""
        self.postgres, self.redis = own_postgres(), own_redis()
        if self.postgres is None or self.redis is None:
            raise SystemExit("PostgreSQL and Redis are wanted: install the extra dev.")
        return {"DATABASE_URL": _database(self.postgres), "REDIS_URL": self.redis.url}

    def _engine(self, index: int) -> Process:
        """An engine of one hub; with that hub it goes and comes."""
        name = f"engine-{index}"
        secret = json.loads(self.manage("service", "add", "engine", name, "--json"))["secret"]
        hub = self.hubs[index % len(self.hubs)]
        command = ["engine", "--url", hub.url, "--name", name, "--pace", PACE_S]
        return Process("engine", name, command, {**self.environ, "HUB_ENGINE_SECRET": secret})


def _database(postgres: PostgresServer) -> str:
    import psycopg  # noqa: PLC0415 - an extra, wanted here only

    name = f"chaos_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return postgres.url(name)
