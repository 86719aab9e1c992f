"""The servers under measurement, each a process of its own on a core of its own.

Both speak the same wire: a token at CONNECT, ``session`` with the server's nonce, signed actions.
CPU is user plus system time of the server's process alone, from ``/proc`` (Linux only).
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

__all__ = ["Hub", "Login", "Peer", "PeerUnavailable", "Process"]

CHECKOUT: Final = Path(__file__).resolve().parent.parent
PEER: Final = Path(__file__).resolve().parent / "peer"
GREETING: Final = "http://"
STARTS_WITHIN_S: Final = 60.0
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
SIGN_IN: Final = """
import json, time
from django.contrib.auth import get_user_model
from security import recorder, sessions
said = []
for number in range(%d):
    user = get_user_model().objects.create(username=f"person{number}")
    login = sessions.open_session(user, sessions.RequestMeta(), time.time())
    said.append({"token": login.tokens.access, "secret": login.secret.hex()})
recorder.shutdown(10)
print(json.dumps(said))
"""

# A benchmark raises limits by their variables; no check is switched off by this.
LIMITS: Final = {
    "HUB_MESSAGES_PER_S": "10000000",
    "HUB_MESSAGE_BURST": "10000000",
    "HUB_BYTES_PER_S": "10000000000",
    "HUB_BYTE_BURST": "10000000000",
    "HUB_HANDSHAKES_PER_S": "100000",
    "HUB_HANDSHAKE_BURST": "100000",
    "HUB_UNAUTHENTICATED_PER_IP": "100000",
    "HUB_SOCKETS_PER_USER": "100000",
    "HUB_CONNECT_DEADLINE_S": "60",
    "HUB_ACCESS_TOKEN_S": "3600",
    "HUB_INACTIVE_AFTER_S": "3600",
    "HUB_DISCONNECT_AFTER_S": "7200",
}


class PeerUnavailable(Exception):
    """Node.js or npm is not here, or npm could not install the peer's packages."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a client needs to connect and to sign."""

    token: str
    secret: bytes


class Process:
    """A server process: started, measured, stopped. ``core`` is the CPU it may use, or None."""

    def __init__(self, command: list[str], *, environ: Mapping[str, str], core: int | None) -> None:
        self._command = command
        self._environ = {**_foreign(os.environ), **environ}
        self._core = core
        self._process: subprocess.Popen[str] | None = None
        self.address: tuple[str, int] = ("", 0)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own commands
            self._command,
            env=self._environ,
            cwd=CHECKOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self._core is not None:
            os.sched_setaffinity(self._process.pid, {self._core})
        self.address = self._await_greeting()
        return self

    def __exit__(self, *_exc: object) -> None:
        process = self._running
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._running.pid

    def cpu_s(self) -> float:
        """User plus system time that the process has used so far, in seconds."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()  # the name in brackets may hold spaces: proc(5)
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def resident_kib(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    @property
    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise RuntimeError("not started")
        return self._process

    def _await_greeting(self) -> tuple[str, int]:
        output, until = self._running.stdout, time.monotonic() + STARTS_WITHIN_S
        while output is not None and time.monotonic() < until:
            line = output.readline()
            if not line:
                break
            if GREETING in line:
                url = urlsplit(GREETING + line.partition(GREETING)[2].split()[0])
                return url.hostname or "", url.port or 0
        raise RuntimeError(f"{self._command[0]} did not start")


class Hub(Process):
    """``manage.py serve`` with a data directory of its own."""

    def __init__(self, *, core: int | None = None, **settings: str) -> None:
        self._data = tempfile.mkdtemp(prefix="hub-benchmark-")
        environ = {
            **LIMITS,
            "HUB_DATA_DIR": self._data,
            "DEBUG": "0",
            "HUB_DEVELOPMENT_KEYS": "1",
            **settings,
        }
        super().__init__(self._manage("serve", "--port", "0"), environ=environ, core=core)

    def __enter__(self) -> Self:
        self._run("migrate", "--verbosity", "0")
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        shutil.rmtree(self._data, ignore_errors=True)

    def logins(self, count: int) -> list[Login]:
        """Make so many people and sign them in, all in one go: hashing passwords takes seconds."""
        said = json.loads(self._run("shell", "--no-imports", "-c", SIGN_IN % count))
        return [Login(each["token"], bytes.fromhex(each["secret"])) for each in said]

    def _manage(self, *arguments: str) -> list[str]:
        return [sys.executable, str(CHECKOUT / "manage.py"), *arguments]

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own command
            self._manage(*arguments),
            env=self._environ,
            cwd=CHECKOUT,
            text=True,
            check=True,
            stdout=subprocess.PIPE,
        )
        return done.stdout


class Peer(Process):
    """The Node.js server of ``benchmarks/peer``; ``modules`` is what ``install`` returned."""

    def __init__(self, modules: Path, *, core: int | None = None) -> None:
        self._jwt_key, self._secret = secrets.token_bytes(32), secrets.token_bytes(32)
        environ = {
            "JWT_KEY": _to_base64url(self._jwt_key),
            "SESSION_SECRET": _to_base64url(self._secret),
            "NODE_ENV": "production",
        }
        super().__init__(["node", str(modules / "server.mjs")], environ=environ, core=core)

    @staticmethod
    def install() -> Path:
        """Install the peer's packages into a temporary folder. Raises PeerUnavailable."""
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise PeerUnavailable("node and npm are needed for the comparison")
        folder = Path(tempfile.mkdtemp(prefix="hub-benchmark-peer-"))
        for name in ("package.json", "server.mjs"):
            shutil.copy(PEER / name, folder)
        flags = ("--no-package-lock", "--no-audit", "--no-fund", "--silent")
        done = subprocess.run(["npm", "install", *flags], cwd=folder, check=False)  # noqa: S603, S607 - found above
        if done.returncode != 0:
            raise PeerUnavailable("npm could not install the packages of benchmarks/peer")
        return folder

    def logins(self, count: int) -> list[Login]:
        """Tokens for so many people, who share the one session secret of this process."""
        return [Login(self._token(number), self._secret) for number in range(1, count + 1)]

    def _token(self, number: int) -> str:
        claims = {
            "sub": str(number),
            "username": f"person{number}",
            "aud": "hub:user",
            "token_type": "access",
            "exp": int(time.time()) + 3600,
        }
        head = ".".join(
            _to_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims)
        )
        mac = hmac.digest(self._jwt_key, head.encode(), hashlib.sha256)
        return f"{head}.{_to_base64url(mac)}"


def _foreign(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of the hub: a benchmark must not inherit them."""
    ours = {"DATABASE_URL", "REDIS_URL", "DEBUG", "DJANGO_SECRET_KEY", "DJANGO_SETTINGS_MODULE"}
    return {
        name: value
        for name, value in environ.items()
        if name not in ours and not name.startswith("HUB_")
    }


def _to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
