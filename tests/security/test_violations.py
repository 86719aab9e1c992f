"""Every refusal is counted exactly once, the first ones are readable, and no secret is stored."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security import database, recorder, violations
from security.detail import DETAIL_BYTES, SecretInDetail
from security.models import Violation
from security.recorder import moment
from security.violations import (
    ADDRESSES_PER_MINUTE,
    UNCONFIRMED,
    Incident,
    confirm,
    confirm_blocking,
    on_violation,
    report,
)

WAIT_S = 20.0
AT = 1_760_000_040_000  # the beginning of a minute
MINUTE = 60_000

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[recorder.Recorder]:
    """A recorder of the test's own, whose roll-ups come with ``flush`` only."""
    own = recorder.Recorder(capacity=10_000, rollup_s=3_600, backoff_s=[0.001])
    reporter = violations.Reporter(lambda: own)
    monkeypatch.setattr(violations, "_reporter", lambda: reporter)
    yield own
    assert own.close(WAIT_S)
    database.shutdown()


def incident(kind: str = "replay_detected", principal: str = "user:1", **facts: Any) -> Incident:
    return Incident(**{"kind": kind, "code": "replay_detected", "principal": principal, **facts})


def total() -> int:
    return Violation.objects.aggregate(total=Sum("count"))["total"] or 0


def test_a_refusal_becomes_a_row_with_all_its_facts(own_recorder: recorder.Recorder) -> None:
    future = report(
        incident(
            user_id=7,
            namespace="/",
            sid="secret-sid",
            login_session="s1",
            ip="::ffff:192.0.2.1",
            event_type="click",
            payload_sha256="a" * 64,
            detail={"reason": "nonce_used"},
        ),
        now_ms=AT,
    )
    assert confirm_blocking(future)
    row = Violation.objects.get()
    assert (row.kind, row.code, row.severity) == ("replay_detected", "replay_detected", "high")
    assert (row.principal, row.user_id, row.namespace) == ("user:1", 7, "/")
    assert row.sid_hash == hashlib.sha256(b"secret-sid").hexdigest()
    assert (row.login_session, row.ip, row.event_type) == ("s1", "192.0.2.1", "click")
    assert (row.payload_sha256, row.detail) == ("a" * 64, {"reason": "nonce_used"})
    assert (row.count, row.at, row.first_at, row.last_at) == (1, *[moment(AT)] * 3)


def test_the_first_twenty_a_minute_are_rows_and_the_rest_is_one_roll_up(
    own_recorder: recorder.Recorder,
) -> None:
    futures = [report(incident(), now_ms=AT + number) for number in range(50)]
    assert [future is not None for future in futures] == [True] * 20 + [False] * 30
    assert own_recorder.flush(WAIT_S)
    rollup = Violation.objects.get(detail={"rollup": True})
    assert (rollup.count, rollup.principal, rollup.kind) == (30, "user:1", "replay_detected")
    assert (rollup.first_at, rollup.last_at) == (moment(AT + 20), moment(AT + 49))
    assert Violation.objects.count() == 21
    assert total() == 50


def test_each_flush_appends_a_roll_up_and_changes_none(own_recorder: recorder.Recorder) -> None:
    for _ in range(3):
        for _ in range(25):
            report(incident(), now_ms=AT)
        assert own_recorder.flush(WAIT_S)
    rollups = Violation.objects.filter(detail={"rollup": True}).order_by("id")
    assert [row.count for row in rollups] == [5, 25, 25]
    assert total() == 75


def test_principals_kinds_and_minutes_have_twenty_rows_each(
    own_recorder: recorder.Recorder,
) -> None:
    for principal, kind, at in [
        ("user:1", "replay_detected", AT),
        ("user:2", "replay_detected", AT),
        ("user:1", "invalid_signature", AT),
        ("user:1", "replay_detected", AT + MINUTE),
    ]:
        futures = [report(incident(kind, principal), now_ms=at) for _ in range(21)]
        assert sum(future is not None for future in futures) == 20
    assert own_recorder.flush(WAIT_S)
    assert total() == 84


def test_a_clock_that_goes_back_opens_no_new_minute(own_recorder: recorder.Recorder) -> None:
    for number in range(20):
        assert report(incident(), now_ms=AT + number) is not None
    assert report(incident(), now_ms=AT - MINUTE) is None


def test_fifty_thousand_from_several_threads_are_counted_exactly(
    own_recorder: recorder.Recorder,
) -> None:
    flushing = threading.Event()

    def flood(thread: int) -> None:
        for number in range(6_250):
            report(incident(principal=f"user:{number % 5}"), now_ms=AT + thread)

    def flush_now_and_then() -> None:
        while not flushing.is_set():
            own_recorder.flush(0.01)

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(8)]
    flusher = threading.Thread(target=flush_now_and_then)
    for each in (*threads, flusher):
        each.start()
    for each in threads:
        each.join()
    flushing.set()
    flusher.join()
    assert own_recorder.flush(WAIT_S)
    assert total() == 50_000
    assert Violation.objects.exclude(detail={"rollup": True}).count() == 100


def test_who_proved_nothing_is_counted_by_address(own_recorder: recorder.Recorder) -> None:
    for ip in ("192.0.2.1", "2001:db8::1", "2001:db8::2", None):
        report(incident(principal="", ip=ip), now_ms=AT)
    assert own_recorder.flush(WAIT_S)
    assert list(Violation.objects.order_by("id").values_list("principal", "ip")) == [
        ("ip:192.0.2.1", "192.0.2.1"),
        ("ip:2001:db8::/64", "2001:db8::1"),
        ("ip:2001:db8::/64", "2001:db8::2"),
        ("ip:unknown", None),
    ]


def test_a_thousand_addresses_a_minute_have_names_and_the_rest_is_one(
    own_recorder: recorder.Recorder,
) -> None:
    for number in range(ADDRESSES_PER_MINUTE + 50):
        report(incident(principal="", ip=f"10.0.{number // 250}.{number % 250}"), now_ms=AT)
    report(incident(principal="", ip="10.0.0.0"), now_ms=AT)
    report(incident(principal="", ip="10.9.9.9"), now_ms=AT + MINUTE)
    assert own_recorder.flush(WAIT_S)
    others = Violation.objects.filter(principal="ip:other")
    assert sum(row.count for row in others) == 50
    assert {row.ip for row in others} == {None}
    assert Violation.objects.filter(principal="ip:10.0.0.0").count() == 2
    assert Violation.objects.filter(principal="ip:10.9.9.9").count() == 1
    assert total() == ADDRESSES_PER_MINUTE + 52


def test_nothing_hostile_in_any_field_keeps_a_row_from_being_stored(
    own_recorder: recorder.Recorder,
) -> None:
    nasty = "\x00\ud800\x1b[31m<script>\r\n\u202e=cmd()" * 50
    future = report(
        incident(
            principal=nasty,
            namespace=nasty,
            sid=nasty,
            login_session=nasty,
            ip=nasty,
            event_type=nasty,
            payload_sha256=nasty,
            detail={nasty: nasty},
        ),
        now_ms=AT,
    )
    assert confirm_blocking(future)
    row = Violation.objects.get()
    for text in (row.principal, row.namespace, row.event_type, *row.detail):
        assert text.isprintable()
    row.clean_fields()


@given(detail=st.dictionaries(st.text(), st.one_of(st.text(), st.floats(), st.integers())))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_detail_is_stored_small_and_its_hash_holds(
    own_recorder: recorder.Recorder, detail: dict[str, Any]
) -> None:
    kept = {f"seen_{key}": value for key, value in detail.items()}
    report(incident(principal=f"user:{hash(str(kept))}", detail=kept), now_ms=AT)
    assert own_recorder.flush(WAIT_S)
    row = Violation.objects.order_by("-id")[0]
    assert len(str(row.detail)) <= 2 * DETAIL_BYTES
    assert row.hash == recorder.chain.link(row.prev_hash, recorder.canonical_row(row))


@pytest.mark.parametrize("key", ["token", "signature", "sig", "secret", "password", "payload"])
def test_a_detail_that_names_a_secret_is_our_fault_and_stores_nothing(
    own_recorder: recorder.Recorder, key: str
) -> None:
    with pytest.raises(SecretInDetail):
        report(incident(detail={key: "x"}), now_ms=AT)
    assert own_recorder.flush(WAIT_S)
    assert total() == 0


def test_a_kind_and_code_that_nobody_declared_are_our_fault() -> None:
    with pytest.raises(KeyError):
        report(Incident(kind="unheard_of", code="unheard_of"), now_ms=AT)


# -- confirm


async def test_confirm_returns_after_the_commit(own_recorder: recorder.Recorder) -> None:
    assert await confirm(report(incident(), now_ms=AT)) is True
    assert await database.read(Violation.objects.count) == 1


async def test_a_roll_up_is_not_waited_for() -> None:
    assert await confirm(None) is True
    assert confirm_blocking(None) is True


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_row_that_is_late_is_counted_and_still_stored(
    blocking: bool,
    own_recorder: recorder.Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(violations, "CONFIRM_S", 0.01)
    before = UNCONFIRMED._value.get()
    commit, go_on = recorder._commit, threading.Event()

    def slow(*args: Any, **kwargs: Any) -> None:
        assert go_on.wait(WAIT_S)
        commit(*args, **kwargs)

    monkeypatch.setattr(recorder, "_commit", slow)
    late = report(incident(), now_ms=AT)
    assert (confirm_blocking(late) if blocking else await confirm(late)) is False
    assert UNCONFIRMED._value.get() == before + 1
    go_on.set()
    assert await asyncio.to_thread(own_recorder.flush, WAIT_S)
    assert await database.read(total) == 1


async def test_a_refusal_whose_task_is_cancelled_is_stored_all_the_same(
    own_recorder: recorder.Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, begun, go_on = recorder._commit, threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> None:
        begun.set()
        assert go_on.wait(WAIT_S)
        commit(*args, **kwargs)

    monkeypatch.setattr(recorder, "_commit", slow)
    task = asyncio.create_task(confirm(report(incident(), now_ms=AT)))
    await asyncio.to_thread(begun.wait, WAIT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await asyncio.to_thread(own_recorder.flush, WAIT_S)
    assert await database.read(total) == 1


def test_a_row_that_could_not_be_made_is_not_confirmed() -> None:
    failed: Future[None] = Future()
    failed.set_exception(KeyError("ours"))
    assert confirm_blocking(failed) is False


# -- listeners


@pytest.fixture
def listen() -> Iterator[Callable[[violations.Listener], Callable[[], None]]]:
    removers: list[Callable[[], None]] = []

    def add(listener: violations.Listener) -> Callable[[], None]:
        removers.append(on_violation(listener))
        return removers[-1]

    yield add
    for remove in removers:
        remove()


def test_listeners_hear_every_refusal_in_the_reporting_thread_until_removed(
    listen: Callable[[violations.Listener], Callable[[], None]],
) -> None:
    heard: list[tuple[Incident, threading.Thread]] = []
    remove = listen(lambda each: heard.append((each, threading.current_thread())))
    told = [incident() for _ in range(25)]
    for each in told:
        report(each, now_ms=AT)
    remove()
    report(incident(), now_ms=AT)
    assert heard == [(each, threading.current_thread()) for each in told]


def test_a_listener_that_raises_harms_nobody(
    listen: Callable[[violations.Listener], Callable[[], None]],
    own_recorder: recorder.Recorder,
) -> None:
    heard: list[Incident] = []

    def fail(_: Incident) -> None:
        raise RuntimeError("listener")

    listen(fail)
    listen(heard.append)
    report(incident(), now_ms=AT)
    assert len(heard) == 1
    assert own_recorder.flush(WAIT_S)
    assert total() == 1
