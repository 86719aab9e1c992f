"""Several workers behind one socket: all serve, the dead are replaced, all end together."""

import errno
import http.client
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubsite.workers import STOPS_WITHIN_S, Workers, listen

WORKER = textwrap.dedent("""
    import os, signal, socket, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(fileno=int(sys.argv[1]))
    while True:
        connection, _ = listener.accept()
        connection.recv(1024)
        body = f"{os.getpid()} of {os.environ['HUB_WORKERS']}".encode()
        head = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n"
        connection.sendall(head % len(body) + body)
        connection.close()
""")
STUBBORN = WORKER.replace(
    "lambda *_: sys.exit(0)", "lambda *_: signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
)
"""Needs to be asked twice."""
PARENT = textwrap.dedent("""
    import sys
    from hubsite.workers import Workers, listen
    listener = listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    sys.exit(Workers([sys.argv[1], "{fd}"], count=2, listener=listener).run())
""")
DEADLINE_S = 30.0


class Supervised:
    """A supervisor with two small workers, in a process of its own."""

    def __init__(self, tmp_path: Path, program: str = WORKER) -> None:
        worker = tmp_path / "worker.py"
        worker.write_text(program)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(worker)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self.port = int(said.readline())

    def ask(self) -> set[str]:
        """Who answers; nobody, if a worker died with the question."""
        address = f"http://127.0.0.1:{self.port}"
        try:
            with urllib.request.urlopen(address, timeout=DEADLINE_S) as answer:
                return {answer.read().decode()}
        except (ConnectionError, http.client.HTTPException):
            return set()

    def until_answered_by(self, count: int, *, without: frozenset[str] = frozenset()) -> set[str]:
        """Ask until so many different workers have answered."""
        seen: set[str] = set()
        deadline = time.monotonic() + DEADLINE_S
        with ThreadPoolExecutor(8) as askers:
            while len(seen) < count and time.monotonic() < deadline:
                seen.update(*askers.map(lambda _: self.ask(), range(8)))
                seen -= without
        return seen

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def supervised(tmp_path: Path) -> Supervised:
    return Supervised(tmp_path)


def test_all_workers_serve_one_socket_and_end_with_their_parent(supervised: Supervised) -> None:
    seen = supervised.until_answered_by(2)
    assert len(seen) == 2
    assert all(each.endswith("of 2") for each in seen)
    assert supervised.end() == 0
    for each in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(int(each.split()[0]), 0)


def test_a_killed_worker_is_replaced(supervised: Supervised) -> None:
    before = supervised.until_answered_by(2)
    victim = before.pop()
    os.kill(int(victim.split()[0]), signal.SIGKILL)
    after = supervised.until_answered_by(2, without=frozenset({victim}))
    assert len(after) == 2
    assert after > before
    assert supervised.end() == 0


def test_a_second_signal_is_passed_on(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, STUBBORN)
    assert len(supervised.until_answered_by(2)) == 2
    supervised.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        supervised.process.wait(1.0)
    began = time.monotonic()
    assert supervised.end() == 0
    assert time.monotonic() - began < STOPS_WITHIN_S - 1.0


def test_an_occupied_port_is_an_error_before_any_worker_starts() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_the_descriptor_is_put_into_the_command() -> None:
    with listen("127.0.0.1", 0) as listener:
        workers = Workers(["serve", "--fd", "{fd}"], count=1, listener=listener)
        assert workers._command == ["serve", "--fd", str(listener.fileno())]


class Scarce(Workers):
    """Workers on a machine that has no room for one more, for a while."""

    starts = 0

    def _start(self) -> "subprocess.Popen[bytes]":
        self.starts += 1
        if self.starts in self.refused:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return super()._start()

    refused: tuple[int, ...] = ()


@pytest.fixture
def scarce(tmp_path: Path) -> Iterator[Scarce]:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    with listen("127.0.0.1", 0) as listener:
        yield Scarce([str(worker), "{fd}"], count=2, listener=listener)


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later(scarce: Scarce) -> None:
    scarce._processes = [scarce._start(), scarce._start()]
    scarce.refused = (3,)
    dead = scarce._processes[0]
    dead.kill()
    dead.wait()
    scarce._replace_dead(started=0.0)
    assert scarce._processes[0] is dead
    scarce._replace_dead(started=0.0)
    assert scarce._processes[0].poll() is None
    scarce._stop()


def test_no_worker_is_left_where_the_first_ones_cannot_all_start(scarce: Scarce) -> None:
    scarce.refused = (2,)
    handlers = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(BlockingIOError):
            scarce.run()
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)
    assert [each.poll() is not None for each in scarce._processes] == [True]
