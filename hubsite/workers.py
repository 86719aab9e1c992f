"""Several processes behind one listening socket: started, watched, replaced, ended together.

The parent binds the socket and serves nothing itself. A worker that dies is replaced after a pause
that grows while workers keep dying young, so that a broken release does not spin.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

__all__ = ["Workers", "listen"]

log = logging.getLogger(__name__)

BACKLOG: Final = 2048  # as uvicorn's default
YOUNG_S: Final = 10.0
LONGEST_PAUSE_S: Final = 30.0
WATCH_S: Final = 0.2
STOPS_WITHIN_S: Final = 15.0  # a worker ends itself after ten, and its notice (hubsite.serving)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that child processes may inherit. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


class Workers:
    """``count`` processes of ``command``; ``{fd}`` in it becomes the socket's descriptor."""

    def __init__(self, command: Sequence[str], *, count: int, listener: socket.socket) -> None:
        self._command = [part.format(fd=listener.fileno()) for part in command]
        self._listener = listener
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ending = threading.Event()
        self._pause_s = 0.0

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; returns 0 if every worker ended by itself.

        Raises OSError, with no worker left, if the first ones cannot be started.
        """
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._end)
        started = time.monotonic()
        try:
            for _ in range(self._count):
                self._processes.append(self._start())
        except OSError:
            self._stop()
            raise
        while not self._ending.wait(WATCH_S):
            started = self._replace_dead(started)
        return self._stop()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own command with our own arguments
            [sys.executable, *self._command],
            pass_fds=[self._listener.fileno()],
            start_new_session=True,  # the terminal's Ctrl-C is for the parent, which passes it on
            env={**os.environ, "HUB_WORKERS": str(self._count)},
        )

    def _replace_dead(self, started: float) -> float:
        for place, process in enumerate(self._processes):
            if process.poll() is None:
                continue
            young = time.monotonic() - started < YOUNG_S
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or 1.0) if young else 0.0
            log.error("worker %s ended with %s, replaced", process.pid, process.returncode)
            if self._ending.wait(self._pause_s):
                break
            started = time.monotonic()
            try:
                self._processes[place] = self._start()
            except OSError:  # no memory, or too many processes: both pass
                log.exception("worker %s could not be replaced, the next try is soon", process.pid)
        return started

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        """The first signal asks for a stop; a second one is passed on, and makes it a quick one."""
        if self._ending.is_set():
            for process in self._processes:
                process.terminate()
        self._ending.set()

    def _stop(self) -> int:
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + STOPS_WITHIN_S
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker %s does not end, killed", process.pid)  # noqa: TRY400 - no trace needed
                process.kill()
        return int(any(process.wait() for process in self._processes))
