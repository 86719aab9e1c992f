"""Every report in every situation: state, report, attempt, connection and lease, all against all.

The expected answers are written out here from docs/engine.md, without a look at the dispatcher.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from django.db import transaction

from engine import dispatcher
from engine.models import Build, FeedEvent, Job, JobEvent
from security.refusals import Refused

pytestmark = pytest.mark.django_db

RESULT = {"nodes": 1}
ERROR = {"code": "broken", "message": "It broke.", "retryable": True}
REPORTS: dict[str, Any] = {
    "ack": dispatcher.report_ack,
    "started": dispatcher.report_started,
    "progress": lambda *claim, now: dispatcher.report_progress(*claim, 50, now=now),
    "completed": lambda *claim, now: dispatcher.report_completed(*claim, RESULT, now=now),
    "completed otherwise": lambda *claim, now: dispatcher.report_completed(*claim, {}, now=now),
    "failed": lambda *claim, now: dispatcher.report_failed(*claim, ERROR, now=now),
    "failed otherwise": lambda *claim, now: dispatcher.report_failed(
        *claim, {"code": "other"}, now=now
    ),
}
ATTEMPTS = ("present", "earlier", "invented")
CONNECTIONS = ("holder", "newer of the same engine", "another engine")
SITUATIONS = (
    "dispatched",
    "running",
    "queued after a failure",
    "queued after its lease",
    "completed",
    "failed by the engine",
    "failed after its lease",
)
MOVES = {
    ("dispatched", "ack"): "dispatched",
    ("dispatched", "started"): "running",
    ("dispatched", "failed"): "queued",
    ("dispatched", "failed otherwise"): "failed",
    ("running", "ack"): "duplicate",
    ("running", "started"): "duplicate",
    ("running", "progress"): "running",
    ("running", "completed"): "completed",
    ("running", "completed otherwise"): "completed",
    ("running", "failed"): "queued",
    ("running", "failed otherwise"): "failed",
}
"""What a report does that comes from the holder, by the present attempt, within its lease."""

REPEATED = {
    ("completed", "completed"): "duplicate",
    ("completed", "completed otherwise"): "CONFLICTING_COMPLETION",
    ("queued after a failure", "failed"): "duplicate",
    ("failed by the engine", "failed"): "duplicate",
}
"""What the engine hears that ended the attempt itself and says so again, on any connection."""

TAKEN_AWAY = {"queued after its lease", "failed after its lease"}


@dataclass(frozen=True)
class Case:
    """One report."""

    situation: str
    report: str
    attempt: str
    connection: str
    lease_over: bool

    def expected(self) -> str:
        """A state, ``duplicate``, or the code of the refusal."""
        if self.connection == "another engine":
            return "JOB_NOT_YOURS"
        if self.attempt != "present":
            return "STALE_ATTEMPT"
        if repeated := REPEATED.get((self.situation, self.report)):
            return repeated
        if self.connection != "holder":
            return "JOB_NOT_YOURS"
        if self.lease_over or self.situation in TAKEN_AWAY:
            return "LEASE_EXPIRED"
        return MOVES.get((self.situation, self.report), "INVALID_TRANSITION")


def cases(situation: str) -> Iterator[Case]:
    leases = (False, True) if situation in {"dispatched", "running"} else (False,)
    for each in product(REPORTS, ATTEMPTS, CONNECTIONS, leases):
        yield Case(situation, *each)


class Scene:
    """A job in a situation, at its second attempt, which an engine named forge had or has."""

    def __init__(self, bench: Any, situation: str) -> None:
        self.bench = bench
        bench.engine("forge")
        bench.submit(entities=1)
        (first,) = bench.assign()
        bench.fail(first, retryable=True)
        bench.later(2)
        (self.job,) = bench.assign()
        self.bring(situation)
        holder, self.job_id, attempt = bench.claim(self.job)
        newer, other = bench.engine("forge"), bench.engine("anvil")
        self.connections = dict(zip(CONNECTIONS, (holder, newer, other), strict=True))
        earlier = str(first.body["attempt_id"])
        self.attempts = dict(zip(ATTEMPTS, (attempt, earlier, "a_invented"), strict=True))
        self.before = snapshot()

    def bring(self, situation: str) -> None:
        bench, claim = self.bench, self.bench.claim(self.job)
        if situation != "dispatched":
            bench.start(self.job)
        if situation == "completed":
            bench.complete(self.job, RESULT)
        elif situation == "queued after a failure":
            dispatcher.report_failed(*claim, ERROR, now=bench.now)
        elif situation == "failed by the engine":
            Job.objects.filter(pk=claim[1]).update(attempt=3)
            dispatcher.report_failed(*claim, ERROR, now=bench.now)
        elif situation.endswith("after its lease"):
            spent = situation.startswith("failed")
            Job.objects.filter(pk=claim[1]).update(attempt=3 if spent else 2)
            bench.later(15)
            bench.beat(claim[0])
            dispatcher.rescue(bench.now)
        assert bench.job(self.job).state == situation.partition(" ")[0]

    def answer(self, case: Case) -> str:
        """Make the report; returns what came of it. A refusal must have changed nothing."""
        claim = (
            self.connections[case.connection],
            self.job_id,
            self.attempts[case.attempt],
        )
        at = self.bench.now
        if case.lease_over:
            at = self.bench.job(self.job).lease_expires_at
        try:
            reply = REPORTS[case.report](*claim, now=at).reply
        except Refused as refused:
            assert snapshot() == self.before, case
            return refused.code
        if "duplicate" in reply:
            assert snapshot() == self.before, case
            return "duplicate"
        return self.bench.job(self.job).state


def snapshot() -> list[Any]:
    rows: list[Any] = []
    for model in (Build, Job, JobEvent, FeedEvent):
        rows += model.objects.order_by("pk").values_list()
    return rows


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_report_in_each_situation_is_answered_as_designed(bench: Any, situation: str) -> None:
    scene = Scene(bench, situation)
    wrong = {}
    for case in cases(situation):
        point = transaction.savepoint()
        if (answer := scene.answer(case)) != case.expected():
            wrong[case] = answer
        transaction.savepoint_rollback(point)
    assert wrong == {}
