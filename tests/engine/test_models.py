"""The rules that the database keeps by itself, against the ORM and against raw SQL."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from engine import triggers
from engine.models import Build, EngineSession, FeedEvent, Job
from engine.states import BuildState, State, legal_build_moves, legal_moves

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 22, tzinfo=UTC)
LIVE = {"attempt": 1, "lease_expires_at": AT}
FIELDS: dict[State, dict[str, Any]] = {
    State.QUEUED: {"attempt": 0, "lease_expires_at": None, "finished_at": None},
    State.DISPATCHED: {**LIVE, "finished_at": None},
    State.RUNNING: {**LIVE, "finished_at": None},
    State.COMPLETED: {"lease_expires_at": None, "finished_at": AT},
    State.FAILED: {"lease_expires_at": None, "finished_at": AT, "error_code": "broken"},
}


class PlainEditor:
    """Runs statements inside the test's transaction, where SQLite's schema editor would refuse."""

    connection = connection

    def execute(self, statement: str, params: None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, params)


def make_job(build: Build, state: State, number: int = 1) -> Job:
    return Job.objects.create(
        id=f"j_{number}",
        build=build,
        job_type="SPAWN_ENTITY",
        stage=2,
        payload={},
        state=state.value,
        attempt_id=f"a_{number}",
        queued_at=AT,
        **FIELDS[state],
    )


def refused_by_database(call: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        call()


def columns(state: State) -> dict[str, Any]:
    """The fields of a state, as raw SQL sets them."""
    return {"state": state.value, **FIELDS[state]}


def raw_update(table: str, pk: str, values: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        settings = ", ".join(f"{name} = %s" for name in values)
        sql = f"UPDATE {table} SET {settings} WHERE id = %s"  # noqa: S608 - names from this file
        adapted = [
            connection.ops.adapt_datetimefield_value(value)
            if isinstance(value, datetime)
            else value
            for value in values.values()
        ]
        cursor.execute(sql, [*adapted, pk])


@pytest.mark.parametrize(("old", "new"), list(product(State, State)), ids=str)
def test_raw_sql_makes_the_moves_of_the_table_and_no_others(
    bench: Any, old: State, new: State
) -> None:
    job = make_job(bench.submit(), old)

    def call() -> None:
        raw_update("engine_job", job.id, columns(new))

    if old is new or (old, new) in legal_moves():
        call()
        assert Job.objects.get(pk=job.id).state == new.value
    else:
        refused_by_database(call)
        assert Job.objects.get(pk=job.id).state == old.value


@pytest.mark.parametrize(("old", "new"), list(product(BuildState, BuildState)), ids=str)
def test_raw_sql_makes_the_moves_of_builds_and_no_others(
    bench: Any, old: BuildState, new: BuildState
) -> None:
    build = bench.submit()
    final = {BuildState.COMPLETED, BuildState.FAILED}

    def values(state: BuildState) -> dict[str, Any]:
        done = build.total if state is BuildState.COMPLETED else 0
        at = AT if state in final else None
        return {"state": state.value, "completed": done, "finished_at": at}

    Build.objects.filter(pk=build.pk).delete()
    for name, value in values(old).items():
        setattr(build, name, value)
    build.save(force_insert=True)

    def call() -> None:
        raw_update("engine_build", build.id, values(new))

    if old is new or (old, new) in legal_build_moves():
        call()
    else:
        refused_by_database(call)


def test_the_triggers_are_what_refuses(bench: Any) -> None:
    job = make_job(bench.submit(), State.COMPLETED)
    editor = PlainEditor()
    triggers.remove(None, editor)
    raw_update("engine_job", job.id, columns(State.QUEUED))
    triggers.install(None, editor)
    raw_update("engine_job", job.id, columns(State.FAILED))
    refused_by_database(lambda: raw_update("engine_job", job.id, columns(State.QUEUED)))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "paused"},
        {"job_type": "FORMAT_DISK"},
        {"progress": 101},
        {"finished_at": AT},
        {"lease_expires_at": None},
        {"attempt_id": ""},
        {"attempt": 0},
    ],
    ids=str,
)
def test_a_live_job_that_contradicts_itself_is_refused(bench: Any, changes: dict[str, Any]) -> None:
    job = make_job(bench.submit(), State.RUNNING)
    refused_by_database(lambda: Job.objects.filter(pk=job.pk).update(**changes))


def test_a_failed_job_says_why(bench: Any) -> None:
    job = make_job(bench.submit(), State.FAILED)
    refused_by_database(lambda: Job.objects.filter(pk=job.pk).update(error_code=""))


def test_an_attempt_belongs_to_one_job(bench: Any) -> None:
    build = bench.submit()
    make_job(build, State.RUNNING, 1)
    make_job(build, State.RUNNING, 2)
    refused_by_database(lambda: Job.objects.filter(pk="j_2").update(attempt_id="a_1"))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "dispatched"},
        {"state": "completed", "finished_at": AT},
        {"finished_at": AT},
        {"completed": 99},
        {"priority": 3},
    ],
    ids=str,
)
def test_a_build_that_contradicts_itself_is_refused(bench: Any, changes: dict[str, Any]) -> None:
    build = bench.submit()
    Build.objects.filter(pk=build.pk).update(state="running")
    refused_by_database(lambda: Build.objects.filter(pk=build.pk).update(**changes))


def test_an_engine_has_one_open_connection(bench: Any) -> None:
    bench.engine()
    refused_by_database(
        lambda: EngineSession.objects.create(
            id="e_2", name="forge", node="n", sid_hash="", connected_at=AT, last_seen_at=AT
        )
    )


def test_a_closed_connection_is_lost_and_only_a_lost_one_is_closed(bench: Any) -> None:
    session = EngineSession.objects.filter(pk=bench.engine())
    refused_by_database(lambda: session.update(closed_at=AT))
    refused_by_database(lambda: session.update(state="lost"))
    session.update(state="lost", closed_at=AT)


def test_a_feed_has_each_number_and_each_key_once(bench: Any) -> None:
    user_id = bench.person()
    fields = {"user_id": user_id, "epoch": "e", "event": "x", "body": "{}", "created_at": AT}
    FeedEvent.objects.create(seq=1, dedupe_key="k", **fields)
    refused_by_database(lambda: FeedEvent.objects.create(seq=1, **fields))
    refused_by_database(lambda: FeedEvent.objects.create(seq=2, dedupe_key="k", **fields))


@pytest.mark.parametrize(
    ("index", "query"),
    [
        ("job_lease", Job.objects.filter(state__in=["running"], lease_expires_at__lte=AT)),
        (
            "job_stage",
            Job.objects.filter(build="b", state="queued", ready=True).order_by("stage", "ordinal"),
        ),
        ("job_queue", Job.objects.filter(state="queued").order_by("-priority", "stage")),
        ("build_queue", Build.objects.filter(state__in=["queued", "running"]).order_by()),
    ],
)
def test_the_dispatcher_and_the_reaper_read_an_index(index: str, query: Any) -> None:
    if connection.vendor == "sqlite":
        assert index in query.explain()
        return
    with connection.cursor() as cursor:  # it would read a table of no page at all from end to end
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert "Index Cond" in query.explain()  # which index, its statistics decide
