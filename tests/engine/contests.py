"""Decisions that meet on the same rows: two threads begin at once, each with its own connection.

`tests.engine.races` plays these on a database of their own; Django is set up before.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from engine import dispatcher
from engine.models import Build, EngineSession, JobEvent
from security.models import ServiceAccount
from security.refusals import Refused
from tests.engine.conftest import Bench

__all__ = ["LANES", "Contests", "Ring"]

LANES = 4
FINAL = ("completed", "failed")


class Ring:
    """Threads that begin at the same moment. What a call raises is what it returns."""

    def __init__(self, lanes: int) -> None:
        self._pool = ThreadPoolExecutor(lanes)

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        gate = Barrier(len(calls))

        def begin(call: Callable[[], Any]) -> Any:
            gate.wait()
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - whatever it is, the contest must see it
                return error

        return [each.result() for each in [self._pool.submit(begin, call) for call in calls]]

    def close(self) -> None:
        """End the threads and their connections."""
        self.at_once(*[connections.close_all] * self._pool._max_workers)
        self._pool.shutdown()


class Contests:
    """Each method that begins with ``when_`` is a contest; it yields what was broken."""

    def __init__(self) -> None:
        self.bench, self.ring = Bench(), Ring(LANES)
        self.person = get_user_model().objects.create_user(f"p-{secrets.token_hex(4)}").pk
        ServiceAccount.objects.create(kind="engine", name="forge", kid="k1")

    def play(self, rounds: int) -> dict[str, list[str]]:
        """Play all so often; returns what was broken, by contest."""
        broken: dict[str, list[str]] = {}
        for name in sorted(dir(self)):
            if name.startswith("when_"):
                found = [each for _ in range(rounds) for each in self._round(name)]
                broken[name] = found
        return broken

    def _round(self, name: str) -> Iterator[str]:
        yield from getattr(self, name)()
        self._clear()

    def _clear(self) -> None:
        """No open build and no engine is left for the next round."""
        for session in EngineSession.objects.filter(closed_at=None):
            dispatcher.engine_closed(session.id, now=self.bench.now)
        dispatcher.rescue(self.bench.later(600))
        for build in Build.objects.exclude(state__in=FINAL):
            dispatcher.cancel_build(self.person, build.id, now=self.bench.now)
        self.bench.later(60)

    def submit(self, entities: int = 4, **options: Any) -> Any:
        return self.bench.submit(self.person, entities=entities, **options)

    def spawning(self, capacity: int = 8) -> list[Any]:
        """The spawns of a build at one engine, all but the finishing one, running."""
        self.bench.engine(capacity=capacity)
        self.submit(entities=capacity + 1)
        for _ in range(2):
            (job,) = self.bench.assign()
            self.bench.run(job)
        jobs = self.bench.assign()
        for job in jobs:
            self.bench.start(job)
        return jobs

    def history(self, job: Any) -> list[str]:
        rows = JobEvent.objects.filter(job=job.body["job_id"]).order_by("id")
        return list(rows.values_list("event", flat=True))

    # -- the contests

    def when_two_processes_give_out_the_same_jobs(self) -> Iterator[str]:
        for name in ("forge", "anvil"):
            self.bench.engine(name, capacity=3)
        builds = [self.submit(entities=1) for _ in range(2)]
        given = self.ring.at_once(*[lambda: dispatcher.assign(self.bench.now)] * 2)
        yield from raised(given)
        sent = [each for outcome in given if not is_error(outcome) for each in outcome.deliveries]
        given_out = Counter(each.body["job_id"] for each in sent)
        if max(given_out.values(), default=0) > 1 or len(sent) > len(builds):
            yield f"given out: {given_out}"
        by_build = Counter((each.body["build_id"], each.engine_session_id) for each in sent)
        if len(by_build) != len({build for build, _ in by_build}):
            yield f"one build at two engines: {by_build}"

    def when_a_result_meets_the_end_of_its_lease(self) -> Iterator[str]:
        self.bench.engine()
        self.submit()
        (job,) = self.bench.assign()
        self.bench.start(job)
        over = self.bench.job(job).lease_expires_at
        just_before = over - timedelta(milliseconds=1)
        given = self.ring.at_once(
            lambda: dispatcher.rescue(over),
            lambda: dispatcher.report_completed(*self.bench.claim(job), {}, now=just_before),
            lambda: dispatcher.report_progress(*self.bench.claim(job), 9, now=just_before),
        )
        yield from raised(given)
        ends = [each for each in self.history(job) if each in {"complete", "release"}]
        state = self.bench.job(job).state
        fits = {("complete",): "completed", ("release",): "queued", (): "running"}
        if fits.get(tuple(ends)) != state:
            yield f"{ends} in {state}"
        if (state == "completed") == is_error(given[1]):
            yield f"{state}, but the engine heard {given[1]}"

    def when_a_result_meets_a_cancel(self) -> Iterator[str]:
        first, *rest = self.spawning(capacity=2)
        build_id = str(first.body["build_id"])
        given = self.ring.at_once(
            lambda: dispatcher.cancel_build(self.person, build_id, now=self.bench.now),
            lambda: self.bench.complete(first),
        )
        yield from raised(given)
        for job in rest:
            self.bench.fail(job)
        if (state := self.build(build_id).state) != "failed":
            yield f"a cancelled build is {state}"
        if self.history(first).count("complete") + self.history(first).count("cancel") != 1:
            yield f"ended other than once: {self.history(first)}"

    def when_the_same_request_comes_twice(self) -> Iterator[str]:
        request = secrets.token_hex(8)
        given = self.ring.at_once(*[lambda: self.submit(request_id=request)] * 2)
        yield from raised(given)
        if len({getattr(each, "pk", "") for each in given}) != 1:
            yield f"two builds of one request: {given}"

    def when_a_build_is_tried_again_twice(self) -> Iterator[str]:
        build = self.submit(entities=1)
        dispatcher.cancel_build(self.person, build.id, now=self.bench.now)
        job_id = build.jobs.first().pk
        given = self.ring.at_once(
            *[lambda: dispatcher.retry_job(self.person, job_id, now=self.bench.now)] * 2
        )
        yield from raised(given)
        if self.build(build.id).opening != 2 or sum(map(is_error, given)) != 1:
            yield f"opened {self.build(build.id).opening} times: {given}"

    def when_an_engine_connects_twice(self) -> Iterator[str]:
        given = self.ring.at_once(*[self.bench.engine] * 2)
        yield from raised(given)
        opened = EngineSession.objects.filter(name="forge", closed_at=None).count()
        if opened != 1:
            yield f"{opened} open connections"

    def when_a_heartbeat_meets_the_failure_of_a_build(self) -> Iterator[str]:
        jobs = self.spawning()
        session = jobs[0].engine_session_id
        attempts = [str(job.body["attempt_id"]) for job in jobs]
        last = max(jobs, key=lambda job: str(job.body["job_id"]))
        beat = lambda: self.bench.beat(session, *attempts)  # noqa: E731 - one of three calls
        given = self.ring.at_once(beat, lambda: self.bench.fail(last), beat)
        yield from raised(given)
        if given[0].reply["stale"] not in ([], sorted(attempts)):
            yield f"half of a build was stale: {given[0].reply}"

    def when_a_resume_meets_the_reaper(self) -> Iterator[str]:
        job = self.spawning(capacity=1)[0]
        dispatcher.engine_closed(job.engine_session_id, now=self.bench.now)
        over = self.bench.job(job).lease_expires_at
        listed = [{key: str(job.body[key]) for key in ("job_id", "attempt_id")}]
        session = self.bench.engine()
        just_before = over - timedelta(milliseconds=1)
        given = self.ring.at_once(
            lambda: dispatcher.engine_resume(session, listed, now=just_before),
            lambda: dispatcher.rescue(over),
        )
        yield from raised(given)
        row = self.bench.job(job)
        bound = row.state == "running" and row.engine_session_id == session
        if not is_error(given[0]) and bound != bool(given[0].reply["resumed"]):
            yield f"{row.state} at {row.engine_session_id}, but resumed {given[0].reply}"

    def when_a_cancel_meets_its_dispatch(self) -> Iterator[str]:
        self.bench.engine()
        build = self.submit()
        cancelling, giving = self.ring.at_once(
            lambda: dispatcher.cancel_build(self.person, build.id, now=self.bench.now),
            lambda: dispatcher.assign(self.bench.now),
        )
        yield from raised([cancelling, giving])
        sent = {each.body["job_id"] for each in giving.deliveries}
        aborted = {each.body["job_id"] for each in cancelling.deliveries}
        if sent != aborted:
            yield f"sent {sent}, aborted {aborted}"

    def build(self, build_id: str) -> Any:
        return Build.objects.get(pk=build_id)


def is_error(given: Any) -> bool:
    return isinstance(given, Exception)


def raised(given: list[Any]) -> Iterator[str]:
    """What was raised and is no refusal: a deadlock, a broken constraint, a lock that timed out."""
    for each in given:
        if is_error(each) and not isinstance(each, Refused):
            yield f"raised: {each!r}"
