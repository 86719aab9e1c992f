"""The one writer of records: bounded, batching, chained. It never drops and never updates.

Records are queued and stored in groups: the first one waiting starts GROUP_S, then all that came
meanwhile are one transaction on the writer thread. What cannot have a row of its own (too many of
a kind, or a full queue) is counted in tallies; every ROLLUP_S each tally becomes one appended row.
While the database fails, the group in hand is tried again, the queue fills to its bound, and
everything after that is counted; so memory is bounded and the sum of counts stays exact. Chains are
anchored while they grow, and once more when their writer ends (`security.anchors`).
(docs/security.md.)
"""

import atexit
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from itertools import islice
from typing import Final, Protocol

from django.db import transaction
from prometheus_client import Counter

from security import anchors, chain, clock
from security.clock import moment
from security.conf import hub
from security.database import run_on_writer
from security.models import AuditEntry, Record, Violation
from security.process import PerProcess

__all__ = [
    "CHAINED",
    "Draft",
    "Recorder",
    "Tally",
    "canonical_row",
    "moment",
    "recorder",
    "shutdown",
]

GROUP_S: Final = 0.020
ROLLUP_S: Final = 1.0
BATCH: Final = 500  # rows of one transaction: about 20 ms of the writer, which others wait for
BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # between tries; the last one repeats
EXIT_S: Final = 2.0  # how long a process that ends waits for its last rows

_ALWAYS: Final = (
    *("at", "principal", "user_id", "namespace", "sid_hash", "login_session", "ip", "detail"),
    "writer",
)
CHAINED: Final[Mapping[type[Record], tuple[str, ...]]] = {
    Violation: (
        *_ALWAYS,
        *("kind", "severity", "event_type", "code", "payload_sha256"),
        *("count", "first_at", "last_at"),
    ),
    AuditEntry: (*_ALWAYS, "action", "target"),
}
"""The columns that a row's hash covers. A column added later does not belong: old rows lack it."""

_log = logging.getLogger(__name__)

STORED = Counter("hub_records_stored", "Rows of violations and audit entries committed.")
MERGED = Counter("hub_records_merged", "Records counted in a roll-up because the queue was full.")
BROKEN = Counter("hub_records_broken", "Records that could not be made: faults of ours.")
FAILED = Counter("hub_record_batches_failed", "Groups of records that the database refused once.")
UNANCHORED = Counter("hub_anchors_failed", "Anchors of records that could not be written.")


@dataclass(slots=True)
class Tally:
    """How often something happened since the last roll-up, and when. Times are ms since the epoch.

    ``crowded``: it counts for many keys, because there were more than could be told apart.
    """

    first: "Draft"
    crowded: bool
    count: int
    first_ms: int
    last_ms: int

    def add(self, at_ms: int) -> None:
        """Count one more."""
        self.count += 1
        self.first_ms = min(self.first_ms, at_ms)
        self.last_ms = max(self.last_ms, at_ms)


class Draft(Protocol):
    """A record before it is a row. Both makers must be total: they run in the recorder's thread."""

    @property
    def at_ms(self) -> int:
        """When it happened."""

    @property
    def tally_key(self) -> Hashable:
        """What it is counted under when it gets no row of its own."""

    @property
    def crowd_key(self) -> Hashable:
        """What it is counted under when there are too many tallies: a few keys in all."""

    def row(self) -> Record:
        """The row of this one alone."""

    def rolled_up(self, tally: Tally) -> Record:
        """The row of all that the tally counted; this draft was the first of them."""


_Group = list[tuple[Callable[[], Record], Future[None] | None]]
"""What makes each row of a transaction, and who waits for it."""


class Recorder:
    """One chain of records per model, and the thread that writes them. Usable from any thread."""

    def __init__(
        self,
        *,
        capacity: int,
        group_s: float = GROUP_S,
        rollup_s: float = ROLLUP_S,
        backoff_s: Sequence[float] = BACKOFF_S,
        anchors_due: anchors.Due | None = None,
    ) -> None:
        self.writer = "w_" + secrets.token_urlsafe(12)  # 12 bytes are 16 characters
        self.capacity = capacity
        self._group_s, self._rollup_s, self._backoff_s = group_s, rollup_s, backoff_s
        self._heads = dict.fromkeys(CHAINED, chain.GENESIS)
        self._anchors = anchors_due or anchors.Due()
        self._changed = threading.Condition()
        self._queue: deque[tuple[Draft, Future[None]]] = deque()
        self._queue_due = 0.0
        self._tallies: dict[Hashable, Tally] = {}
        self._tallies_due = 0.0
        self._writing = False
        self._hurried = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    # -- from any thread

    def append(self, draft: Draft) -> Future[None] | None:
        """Queue a row. The future is done after its commit; None: the queue was full."""
        with self._changed:
            if len(self._queue) >= self.capacity:
                MERGED.inc()
                self._count(draft)
                return None
            future: Future[None] = Future()
            future.set_running_or_notify_cancel()  # from here on nobody can cancel it
            self._queue.append((draft, future))
            if len(self._queue) == 1:
                self._queue_due = time.monotonic() + self._group_s
                self._wake()
        return future

    def count(self, draft: Draft) -> None:
        """Count it in the next roll-up of its key."""
        with self._changed:
            self._count(draft)

    def flush(self, timeout_s: float) -> bool:
        """Store all that is queued or counted now. False: some of it still waits after the time."""
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self._is_idle, timeout_s)
            finally:
                self._hurried -= 1

    def close(self, timeout_s: float) -> bool:
        """Flush, then end the thread. False: rows were left, and are lost with this process.

        A thread that could not store what waited hangs in the database, and is not waited for.
        """
        deadline = time.monotonic() + timeout_s
        stored = self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if stored and self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return stored

    def waiting(self) -> int:
        """Rows queued and tallies open, for health pages."""
        with self._changed:
            return len(self._queue) + len(self._tallies)

    # -- with the lock held

    def _count(self, draft: Draft) -> None:
        key = draft.tally_key
        crowded = key not in self._tallies and len(self._tallies) >= self.capacity
        if crowded:
            key = draft.crowd_key
        if (tally := self._tallies.get(key)) is not None:
            tally.add(draft.at_ms)
            return
        if not self._tallies:
            self._tallies_due = time.monotonic() + self._rollup_s
            self._wake()
        self._tallies[key] = Tally(draft, crowded, 1, draft.at_ms, draft.at_ms)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hub-recorder", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not (self._queue or self._tallies or self._writing)

    def _delay_s(self) -> float | None:
        """Seconds until something is due; None when nothing waits."""
        waiting = [
            due
            for due, present in ((self._queue_due, self._queue), (self._tallies_due, self._tallies))
            if present
        ]
        if waiting and self._hurried:
            return 0.0
        if self._anchors.at is not None:
            waiting.append(self._anchors.at)
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _take(self) -> _Group:
        """The next group: rows waiting, then roll-ups that are due."""
        own = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        group: _Group = [(draft.row, future) for draft, future in own]
        if self._hurried or time.monotonic() >= self._tallies_due:
            for key in list(islice(self._tallies, BATCH - len(own))):
                tally = self._tallies.pop(key)
                group.append((partial(tally.first.rolled_up, tally), None))
        return group

    # -- in the recorder's own thread

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            ready = [(row, future) for make, future in group if (row := self._made(make, future))]
            rows = [row for row, _ in ready]
            if rows and self._store(rows):
                self._anchors.grew(rows, time.monotonic())
                for _, future in ready:
                    if future is not None:
                        future.set_result(None)
            self._anchor(self._anchors.take(time.monotonic()), closed=False)
        self._anchor(self._anchors.take_all(), closed=True)

    def _next_group(self) -> _Group | None:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._closed and (delay := self._delay_s()) != 0:
                self._changed.wait(delay)
            if self._closed:
                return None
            self._writing = True
            return self._take()

    def _made(self, make: Callable[[], Record], future: Future[None] | None) -> Record | None:
        """The sealed row; None for a draft that broke its contract, which must not stop us."""
        try:
            row = make()
            self._seal(row)
        except Exception as error:  # noqa: BLE001 - one bad record must not end the thread
            BROKEN.inc()
            _log.exception("a record could not be made")
            if future is not None:
                future.set_exception(error)
            return None
        return row

    def _anchor(self, heads: Sequence[Record], *, closed: bool) -> None:
        """Anchor chains. One that fails is made good by the next: records go on without it."""
        if not heads:
            return
        try:
            _on_writer(partial(anchors.write, heads, closed=closed, now_ms=clock.now_ms()))
        except Exception:  # noqa: BLE001 - as for a group that cannot be stored
            UNANCHORED.inc(len(heads))
            _log.warning("records could not be anchored", exc_info=True)

    def _seal(self, row: Record) -> None:
        """Give a row its place in its chain. A sealed group is stored as it is, or never."""
        row.writer = self.writer
        row.prev_hash = self._heads[type(row)]
        row.hash = chain.link(row.prev_hash, canonical_row(row))
        self._heads[type(row)] = row.hash

    def _store(self, rows: Sequence[Record]) -> bool:
        """Try until the group is committed. False: closed before that."""
        failures = 0
        while True:
            try:
                _on_writer(partial(_commit, rows, again=failures > 0))
            except Exception:  # noqa: BLE001 - whatever it is, these rows must not be lost
                FAILED.inc()
                _log.warning("records could not be stored; trying again", exc_info=not failures)
            else:
                STORED.inc(len(rows))
                return True
            pause = self._backoff_s[min(failures, len(self._backoff_s) - 1)]
            failures += 1
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, pause):
                    return False


def canonical_row(row: Record) -> bytes:
    """The bytes that a row's hash covers, the same before it is stored and after it is read."""
    values: dict[str, object] = {name: getattr(row, name) for name in CHAINED[type(row)]}
    if row.ip is not None:  # databases spell v6 addresses in several ways; bytes have one
        values["ip"] = ip_address(row.ip).packed.hex()
    return chain.canonical(type(row).__name__, values)


def shutdown(timeout_s: float) -> bool:
    """Store what waits and end this process's recorder. False: not all in time."""
    made = recorder.take()
    return made is None or made.close(timeout_s)


def _on_writer(function: Callable[[], None]) -> None:
    try:
        future = run_on_writer(function)
    except RuntimeError:  # executors end before atexit: nobody else writes any more, so do it here
        function()
    else:
        future.result()


def _commit(rows: Sequence[Record], *, again: bool) -> None:
    # A connection that broke during COMMIT leaves its outcome unknown. The group is one
    # transaction, so its first row tells about all.
    if again and _is_stored(rows[0]):
        return
    with transaction.atomic():
        for model in CHAINED:
            own = [row for row in rows if type(row) is model]
            for row in own:
                row.pk = None  # set by a try that was rolled back
            model._default_manager.bulk_create(own)  # noqa: SLF001 - Django's documented name


def _is_stored(row: Record) -> bool:
    rows = type(row)._default_manager  # noqa: SLF001 - Django's documented name
    return rows.filter(at=row.at, writer=row.writer, hash=row.hash).exists()


recorder = PerProcess(lambda: Recorder(capacity=hub().violation_queue))
atexit.register(shutdown, EXIT_S)
