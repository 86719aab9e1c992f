"""Database work off the event loop: a named, bounded thread pool, and one writer on SQLite.

Every function given here runs in a thread with connections of its own, so it sees what is committed
and nothing of the caller's open transaction. On SQLite all writes of the process go through one
thread, because SQLite has one write lock and waiting for it in line is cheaper than fighting for it
(docs/operations.md, "The database"). On PostgreSQL writes use the pool.

    DatabaseBusy         nothing was done: too much is waiting already
    '-- DatabaseTimedOut   no answer in time; a write may still happen
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Generic, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections, connection

from security.conf import hub
from security.process import PerProcess

__all__ = [
    "TROUBLE",
    "BoundedExecutor",
    "DatabaseBusy",
    "DatabaseTimedOut",
    "SharedRead",
    "read",
    "run_on_writer",
    "shutdown",
    "write",
    "writer",
]

P = ParamSpec("P")
T = TypeVar("T")

# At 8 threads and 5 ms a call this is 0.6 s of work: who comes later had better be told at once.
WAITING: Final = 1_000


class DatabaseBusy(Exception):
    """The queue of a database executor is full. Nothing was done; try again later."""

    def __init__(self, executor: str, waiting: int) -> None:
        self.executor, self.waiting = executor, waiting
        super().__init__(executor, waiting)

    def __str__(self) -> str:
        return f"{self.waiting} calls are waiting for {self.executor} already"


class DatabaseTimedOut(DatabaseBusy):
    """The database gave no answer in time. A read is lost; a write may still be committed."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        Exception.__init__(self, deadline_s)

    def __str__(self) -> str:
        return f"no answer from the database within {self.deadline_s:g} s"


TROUBLE: Final = (DatabaseBusy, OperationalError, InterfaceError)
"""What a call raises when the database is away or overloaded: the same may work a little later."""


class BoundedExecutor(ThreadPoolExecutor):
    """A thread pool for database calls whose queue holds at most ``waiting`` of them.

    Connections that broke or grew too old are closed before and after each call.
    """

    def __init__(self, threads: int, *, name: str, waiting: int = WAITING) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.name = name
        self.waiting = waiting

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call. Raises DatabaseBusy when the queue is full."""
        # The private queue of the base class is the only exact count of what waits: counting by
        # futures would forget cancelled calls that still lie in it.
        if self._work_queue.qsize() >= self.waiting:
            raise DatabaseBusy(self.name, self.waiting)
        return super().submit(_with_sound_connections, partial(fn, *args, **kwargs))


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that reads in a pool thread, and return what it returns.

    Raises DatabaseBusy at once when too much waits, DatabaseTimedOut when there is no answer within
    HUB_DATABASE_DEADLINE_S, and whatever the function raises. For a shorter wait, put
    ``asyncio.timeout`` around it.
    """
    return await _result(_pool(), partial(function, *args, **kwargs))


async def write(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that writes, on the writer, and return what it returns.

    Errors as for ``read``. After DatabaseTimedOut, or when the waiting task is cancelled, the write
    may or may not happen. The function makes its own transaction.
    """
    return await _result(writer(), partial(function, *args, **kwargs))


class SharedRead(Generic[T]):
    """One read for all who ask at the same time, as when thousands connect at once.

    Each gets an answer that was read after it had asked: it never joins a read that is under way.
    Belongs to one event loop.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Errors as for ``read``. Who is cancelled takes nothing from the others."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._running))
            self._next.add_done_callback(_look_at)
        return await asyncio.shield(self._next)

    async def _read_after(self, running: asyncio.Task[T] | None) -> T:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None  # who comes now needs the one after this
        return await read(self._function)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Spare the log an error that nobody is left to hear of."""
    if not task.cancelled():
        task.exception()


def writer() -> Executor:
    """Where writes go: the one writer thread on SQLite, the pool on PostgreSQL."""
    return _writer() if connection.vendor == "sqlite" else _pool()


def run_on_writer(function: Callable[[], T]) -> Future[T]:
    """Queue a write for callers without an event loop. Raises DatabaseBusy.

    Not to be waited for by a function that runs on the writer itself: on SQLite it would wait for
    its own thread.
    """
    return writer().submit(function)


def shutdown() -> None:
    """Wait for all queued calls and end the threads. A later call starts new ones."""
    for each in (_writer, _pool):
        executor = each.take()
        if executor is not None:
            executor.shutdown()


async def _result(executor: Executor, call: Callable[[], T]) -> T:
    deadline_s = hub().database_deadline_s
    deadline = asyncio.timeout(deadline_s)
    try:
        async with deadline:
            return await asyncio.wrap_future(executor.submit(call))
    except TimeoutError as error:
        if not deadline.expired():
            raise  # the function's own
        raise DatabaseTimedOut(deadline_s) from error


def _with_sound_connections(call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()


_pool = PerProcess(lambda: BoundedExecutor(max(1, hub().database_threads), name="hub-database"))
_writer = PerProcess(lambda: BoundedExecutor(1, name="hub-writer"))
