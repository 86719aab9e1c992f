"""The recorder loses nothing, tells only what is committed, and leaves an unbroken chain."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait

import pytest
from django.db import OperationalError, connections

from security import chain, database, recorder
from security.models import AuditEntry, Record, RecordChanged, Violation
from security.recorder import CHAINED, Recorder, canonical_row, moment
from tests.security.notes import AT, Note

WAIT_S = 20.0

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def open_recorder() -> Iterator[Callable[..., Recorder]]:
    opened: list[Recorder] = []

    def make(capacity: int = 1_000, **timing: float) -> Recorder:
        opened.append(Recorder(capacity=capacity, backoff_s=[0.001], **timing))
        return opened[-1]

    yield make
    for each in opened:
        assert each.close(WAIT_S)
    database.shutdown()


class Broken:
    """A database that fails until it is mended; tells when it was first asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.mended, self._commit = threading.Event(), False, recorder._commit
        self.tries = 0
        monkeypatch.setattr(recorder, "_commit", self)

    def __call__(self, rows: list[Record], *, again: bool) -> None:
        self.tries += 1
        if self.tries >= 3:
            self.asked.set()
        if not self.mended:
            raise OperationalError("database is gone")
        self._commit(rows, again=again)


def seen_from_outside() -> int:
    """Rows in the table, read on a connection of its own."""
    counted: Future[int] = Future()

    def count() -> None:
        with contextlib.closing(connections["default"]):
            counted.set_result(Violation.objects.count())

    threading.Thread(target=count).start()
    return counted.result(WAIT_S)


def assert_chained(model: type[Record], writer: str) -> None:
    head = chain.GENESIS
    for row in model._default_manager.filter(writer=writer).order_by("id"):
        assert row.prev_hash == head
        assert row.hash == chain.link(head, canonical_row(row))
        head = row.hash


def test_a_future_is_done_only_after_the_commit(open_recorder: Callable[..., Recorder]) -> None:
    future = open_recorder().append(Note("first"))
    assert future is not None
    seen: Future[int] = Future()
    future.add_done_callback(lambda _: seen.set_result(seen_from_outside()))
    assert seen.result(WAIT_S) == 1


def test_a_future_is_not_done_while_the_commit_is_under_way(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, begun, go_on = recorder._commit, threading.Event(), threading.Event()

    def slow(rows: list[Record], *, again: bool) -> None:
        begun.set()
        assert go_on.wait(WAIT_S)
        commit(rows, again=again)

    monkeypatch.setattr(recorder, "_commit", slow)
    future = open_recorder().append(Note("first"))
    assert future is not None
    assert begun.wait(WAIT_S)
    assert not future.done()
    assert not future.cancel()
    assert Violation.objects.count() == 0
    go_on.set()
    future.result(WAIT_S)
    assert Violation.objects.count() == 1


def test_records_that_come_together_are_one_transaction(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    commit = recorder._commit

    def counted(rows: list[Record], *, again: bool) -> None:
        sizes.append(len(rows))
        commit(rows, again=again)

    monkeypatch.setattr(recorder, "_commit", counted)
    patient = open_recorder(group_s=3_600)
    futures = [patient.append(Note(f"n{number}")) for number in range(40)]
    assert patient.flush(WAIT_S)
    assert sizes == [40]
    assert all(future is not None and future.done() for future in futures)


def test_no_transaction_is_longer_than_a_batch(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(recorder, "_commit", lambda rows, **_: sizes.append(len(rows)))
    patient = open_recorder(10_000, group_s=3_600)
    for number in range(1_200):
        patient.append(Note(f"n{number}"))
    assert patient.flush(WAIT_S)
    assert sizes == [500, 500, 200]


def test_each_model_of_a_writer_has_an_unbroken_chain(
    open_recorder: Callable[..., Recorder],
) -> None:
    one, other = open_recorder(), open_recorder()
    for number in range(30):
        one.append(Note(f"v{number}"))
        one.append(Note(f"a{number}", model=AuditEntry))
        other.append(Note(f"o{number}"))
        if number % 7 == 0:
            one.flush(WAIT_S)
    assert one.flush(WAIT_S)
    assert other.flush(WAIT_S)
    assert one.writer != other.writer
    assert Violation.objects.filter(writer=one.writer).count() == 30
    for model, writer in [
        (Violation, one.writer),
        (AuditEntry, one.writer),
        (Violation, other.writer),
    ]:
        assert_chained(model, writer)


def test_every_column_but_the_id_and_the_links_is_chained() -> None:
    for model, columns in CHAINED.items():
        names = {each.name for each in model._meta.concrete_fields}
        assert set(columns) == names - {"id", "hash", "prev_hash"}


def test_counted_records_become_one_row_per_key_with_exact_numbers(
    open_recorder: Callable[..., Recorder],
) -> None:
    patient = open_recorder(rollup_s=3_600)
    for offset in (5, 2, 9):
        patient.count(Note("flood", AT + offset))
    patient.count(Note("drip", AT))
    assert patient.flush(WAIT_S)
    flood = Violation.objects.get(kind="flood")
    assert (flood.count, flood.first_at, flood.last_at) == (3, moment(AT + 2), moment(AT + 9))
    assert Violation.objects.get(kind="drip").count == 1


def test_roll_ups_come_by_themselves_and_each_appends(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = threading.Semaphore(0)
    commit = recorder._commit

    def tell(rows: list[Record], *, again: bool) -> None:
        commit(rows, again=again)
        stored.release()

    monkeypatch.setattr(recorder, "_commit", tell)
    quick = open_recorder(rollup_s=0.005)
    for _ in range(3):
        quick.count(Note("flood"))
        assert stored.acquire(timeout=WAIT_S)
    assert list(Violation.objects.values_list("count", flat=True)) == [1, 1, 1]


def test_a_full_queue_merges_into_the_next_roll_up(open_recorder: Callable[..., Recorder]) -> None:
    patient = open_recorder(5, group_s=3_600, rollup_s=3_600)
    futures = [patient.append(Note("flood")) for _ in range(12)]
    assert [future is None for future in futures] == [False] * 5 + [True] * 7
    assert patient.waiting() == 6
    assert patient.flush(WAIT_S)
    counts = Violation.objects.order_by("id").values_list("count", flat=True)
    assert list(counts) == [1, 1, 1, 1, 1, 7]


def test_too_many_tallies_share_one(open_recorder: Callable[..., Recorder]) -> None:
    patient = open_recorder(3, rollup_s=3_600)
    for number in range(10):
        patient.count(Note(f"k{number}"))
    patient.count(Note("k1"))
    assert patient.waiting() == 4
    assert patient.flush(WAIT_S)
    counts = dict(Violation.objects.values_list("kind", "count"))
    assert counts == {"k0": 1, "k1": 2, "k2": 1, "crowd": 7}


def test_while_the_database_fails_rows_wait_and_nothing_grows_past_its_bound(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(monkeypatch)
    bounded = open_recorder(10, rollup_s=0)
    first = bounded.append(Note("first"))
    assert broken.asked.wait(WAIT_S)
    assert first is not None
    assert not first.done()
    futures = [bounded.append(Note("flood")) for _ in range(1_000)]
    assert sum(future is not None for future in futures) == 10
    assert bounded.waiting() == 11
    broken.mended = True
    assert bounded.flush(WAIT_S)
    assert first.done()
    assert sum(Violation.objects.values_list("count", flat=True)) == 1_001
    assert Violation.objects.count() == 12
    assert_chained(Violation, bounded.writer)


def test_a_commit_whose_answer_was_lost_is_not_stored_twice(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, answers = recorder._commit, [OperationalError("connection lost during commit"), None]

    def lose_the_answer(rows: list[Record], *, again: bool) -> None:
        commit(rows, again=again)
        if answer := answers.pop(0):
            raise answer

    monkeypatch.setattr(recorder, "_commit", lose_the_answer)
    once = open_recorder()
    futures = [once.append(Note(f"n{number}")) for number in range(3)]
    assert once.flush(WAIT_S)
    wait([future for future in futures if future is not None], WAIT_S)
    assert answers == []
    assert Violation.objects.count() == 3
    assert_chained(Violation, once.writer)


def test_a_transaction_that_was_rolled_back_is_stored_by_the_next_try(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    create, failures = AuditEntry._default_manager.bulk_create, [OperationalError("disk full")]

    def fail_once(rows: list[AuditEntry]) -> list[AuditEntry]:
        if failures:
            raise failures.pop()
        return create(rows)

    monkeypatch.setattr(AuditEntry._default_manager, "bulk_create", fail_once, raising=False)
    once = open_recorder()
    once.append(Note("violation"))
    once.append(Note("audit", model=AuditEntry))
    assert once.flush(WAIT_S)
    assert failures == []
    assert (Violation.objects.count(), AuditEntry.objects.count()) == (1, 1)


def test_a_draft_that_breaks_its_contract_stops_nobody(
    open_recorder: Callable[..., Recorder],
) -> None:
    class Bad(Note):
        def row(self) -> Record:
            raise KeyError("ours")

    patient = open_recorder(group_s=3_600)
    futures = [patient.append(each) for each in (Note("one"), Bad("bad"), Note("two"))]
    assert patient.flush(WAIT_S)
    assert futures[1] is not None
    assert isinstance(futures[1].exception(), KeyError)
    assert Violation.objects.count() == 2
    assert_chained(Violation, patient.writer)


def test_stored_records_cannot_be_changed_through_the_orm(
    open_recorder: Callable[..., Recorder],
) -> None:
    once = open_recorder()
    once.append(Note("kept"))
    assert once.flush(WAIT_S)
    row = Violation.objects.get()
    for change in (
        row.save,
        row.delete,
        Violation.objects.all().delete,
        lambda: Violation.objects.update(kind="other"),
    ):
        with pytest.raises(RecordChanged):
            change()


def test_flush_tells_when_time_ran_out(
    open_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(monkeypatch)
    waiting = open_recorder()
    waiting.append(Note("first"))
    assert waiting.flush(0.05) is False
    broken.mended = True
    assert waiting.flush(WAIT_S) is True


def test_a_closed_recorder_gives_up_rows_that_cannot_be_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = Broken(monkeypatch)
    lost = Recorder(capacity=10, backoff_s=[3_600])
    lost.append(Note("lost"))
    assert lost.close(0.05) is False
    assert lost._thread is not None
    lost._thread.join(WAIT_S)
    assert not lost._thread.is_alive()
    assert broken.tries == 1
    database.shutdown()


EXIT = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from security import audit
audit.append("staff.test", principal="user:1")
"""


def test_a_process_that_ends_stores_its_last_records(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/exit.sqlite3")
    count = "from security.models import AuditEntry; print(AuditEntry.objects.count())"
    for code, out in ((EXIT, ""), (f"import django; django.setup(); {count}", "1\n")):
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
        )
        assert done.stdout == out
