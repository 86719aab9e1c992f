"""Database work leaves the event loop, in bounded numbers, and SQLite has one writer."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import pytest
from django.db import connection, transaction

from security import database
from security.conf import hub
from security.database import (
    BoundedExecutor,
    DatabaseBusy,
    DatabaseTimedOut,
    read,
    run_on_writer,
    write,
)
from security.models import User

WAIT_S = 10.0


@pytest.fixture(autouse=True)
def ended_threads() -> Iterator[None]:
    yield
    database.shutdown()


def thread_name() -> str:
    return threading.current_thread().name


class Gate:
    """A call that waits to be let through, and tells when it has begun."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.open.wait(WAIT_S)


async def test_reads_run_in_the_named_pool_and_writes_on_one_thread() -> None:
    assert (await read(thread_name)).startswith("hub-database")
    names = await asyncio.gather(*(write(thread_name) for _ in range(20)))
    assert set(names) == {"hub-writer_0"}


async def test_on_postgresql_writes_run_in_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connection._connections["default"]), "vendor", "postgresql")
    assert (await write(thread_name)).startswith("hub-database")


async def test_arguments_results_and_errors_pass_through() -> None:
    assert await read(divmod, 17, 5) == (3, 2)
    assert await write(int, "ff", base=16) == 255
    with pytest.raises(ZeroDivisionError):
        await read(divmod, 1, 0)


@pytest.mark.django_db(transaction=True)
async def test_a_write_is_seen_by_reads_and_from_outside() -> None:
    def create() -> int:
        with transaction.atomic():
            return User.objects.create(username="ada").pk

    key = await write(create)
    assert await read(lambda: User.objects.get(pk=key).username) == "ada"


@pytest.mark.django_db(transaction=True)
async def test_hundreds_of_read_then_write_transactions_all_succeed_on_sqlite() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("elsewhere a transaction that reads in order to write locks its row")
    await write(User.objects.create, username="ada", token_version=1)

    def raise_version() -> None:
        with transaction.atomic():
            ada = User.objects.get(username="ada")
            ada.token_version += 1
            ada.save()

    await asyncio.gather(*(write(raise_version) for _ in range(300)))
    assert await read(lambda: User.objects.get(username="ada").token_version) == 301


def test_a_full_queue_refuses_at_once_and_takes_more_when_it_has_room() -> None:
    gate = Gate()
    executor = BoundedExecutor(1, name="tiny", waiting=2)
    running = executor.submit(gate)
    assert gate.begun.wait(WAIT_S)
    waiting = [executor.submit(thread_name) for _ in range(2)]
    with pytest.raises(DatabaseBusy, match="2 calls are waiting for tiny"):
        executor.submit(thread_name)
    gate.open.set()
    running.result(WAIT_S)
    assert [each.result(WAIT_S) for each in waiting] == ["tiny_0"] * 2
    assert executor.submit(thread_name).result(WAIT_S) == "tiny_0"
    executor.shutdown()


def test_cancelled_calls_take_room_until_they_have_left_the_queue() -> None:
    gate = Gate()
    executor = BoundedExecutor(1, name="tiny", waiting=2)
    executor.submit(gate)
    assert gate.begun.wait(WAIT_S)
    for _ in range(2):
        assert executor.submit(thread_name).cancel()
    with pytest.raises(DatabaseBusy):
        executor.submit(thread_name)
    gate.open.set()
    executor.shutdown()


async def test_a_hanging_database_is_given_up_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "hub", lambda: replace(hub(), database_deadline_s=0.01))
    gate = Gate()
    with pytest.raises(DatabaseTimedOut, match=r"within 0\.01 s"):
        await read(gate)
    monkeypatch.setattr(database, "hub", hub)
    assert await read(divmod, 7, 2) == (3, 1)
    gate.open.set()


async def test_a_timeout_of_the_function_itself_stays_its_own() -> None:
    def fail() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await read(fail)


async def test_all_who_ask_while_a_read_is_under_way_share_the_next_one() -> None:
    asked, gate = [], Gate()

    def count() -> int:
        asked.append(None)
        gate()
        return len(asked)

    shared = database.SharedRead(count)
    first = asyncio.create_task(shared())
    await asyncio.to_thread(gate.begun.wait, WAIT_S)
    others = [asyncio.create_task(shared()) for _ in range(100)]
    await asyncio.sleep(0)
    others[0].cancel()
    gate.open.set()
    # What was asked after a read had begun is answered by a later one.
    assert await first == 1
    assert await asyncio.gather(*others[1:]) == [2] * 99
    assert others[0].cancelled()
    assert await shared() == 3


async def test_an_error_of_a_shared_read_reaches_all_and_spoils_nothing() -> None:
    answers = iter([ZeroDivisionError(), 7])

    def answer() -> int:
        each = next(answers)
        if isinstance(each, Exception):
            raise each
        return each

    shared = database.SharedRead(answer)
    both = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert [type(each) for each in both] == [ZeroDivisionError] * 2
    assert await shared() == 7


def test_it_serves_one_event_loop_after_the_other() -> None:
    for _ in range(3):
        assert asyncio.run(read(divmod, 7, 2)) == (3, 1)


def test_callers_without_a_loop_get_a_future_of_the_writer() -> None:
    assert run_on_writer(thread_name).result(WAIT_S) == "hub-writer_0"


def test_shutdown_waits_for_what_is_queued_and_later_calls_start_anew() -> None:
    gate = Gate()
    first = run_on_writer(gate)
    last: Future[str] = run_on_writer(thread_name)
    threading.Timer(0, gate.open.set).start()
    database.shutdown()
    assert first.done()
    assert last.done()
    assert run_on_writer(thread_name).result(WAIT_S) == "hub-writer_0"


def test_old_connections_are_closed_around_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def recorded(name: str) -> Callable[[], None]:
        return lambda: calls.append(name)

    monkeypatch.setattr(database, "close_old_connections", recorded("close"))
    run_on_writer(recorded("work")).result(WAIT_S)
    assert calls == ["close", "work", "close"]
