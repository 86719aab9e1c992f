"""Whatever happens in whatever order: every job ends once, and its owner is told all of it."""

from collections import Counter
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from engine import dispatcher
from engine.models import Build, Job, JobEvent
from security.refusals import Refused
from tests.engine.conftest import Bench

DEEDS = (
    "submit",
    "connect",
    "close",
    "resume",
    "assign",
    "start",
    "complete",
    "fail",
    "give_up",
    "beat",
    "wait",
    "rescue",
    "cancel_build",
    "cancel_job",
    "retry",
)


class Life:
    """A hub, one person and two engines, to which anything may happen."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.sent: list[Any] = []
        self.sessions: dict[str, str] = {}

    def do(self, deed: str, pick: int) -> None:
        with suppress(Refused):  # a refusal changes nothing, which the end shows
            getattr(self, deed)(pick)

    def one(self, things: Any, pick: int) -> Any:
        things = list(things)
        if not things:
            raise Refused("not_found")
        return things[pick % len(things)]

    def submit(self, pick: int) -> None:
        self.bench.submit(entities=1 + pick % 3)

    def connect(self, pick: int) -> None:
        name = ("forge", "anvil")[pick % 2]
        self.sessions[name] = self.bench.engine(name, capacity=1 + pick % 3)

    def close(self, pick: int) -> None:
        dispatcher.engine_closed(self.one(self.sessions.values(), pick), now=self.bench.now)

    def resume(self, pick: int) -> None:
        name = self.one(self.sessions, pick)
        session = self.sessions[name] = self.bench.engine(name, capacity=2)
        listed = [
            {"job_id": job.body["job_id"], "attempt_id": job.body["attempt_id"]}
            for job in self.sent[pick % 4 :]
        ]
        dispatcher.engine_resume(session, listed, now=self.bench.now)

    def assign(self, _pick: int) -> None:
        self.sent += self.bench.assign()

    def claim(self, pick: int) -> tuple[str, str, str]:
        """An attempt as its engine's present connection would name it."""
        _, job_id, attempt_id = self.bench.claim(self.one(self.sent[-6:], pick))
        return self.one(self.sessions.values(), pick // 7), job_id, attempt_id

    def start(self, pick: int) -> None:
        dispatcher.report_started(*self.claim(pick), now=self.bench.now)

    def complete(self, pick: int) -> None:
        dispatcher.report_completed(*self.claim(pick), {"pick": pick}, now=self.bench.now)

    def fail(self, pick: int) -> None:
        error = {"code": "flaky", "message": "", "retryable": True}
        dispatcher.report_failed(*self.claim(pick), error, now=self.bench.now)

    def give_up(self, pick: int) -> None:
        dispatcher.report_failed(*self.claim(pick), {"code": "broken"}, now=self.bench.now)

    def beat(self, pick: int) -> None:
        attempts = [str(job.body["attempt_id"]) for job in self.sent[-4:]]
        self.bench.beat(self.one(self.sessions.values(), pick), *attempts)

    def wait(self, pick: int) -> None:
        self.bench.later((0.3, 2, 9, 16)[pick % 4])

    def rescue(self, _pick: int) -> None:
        dispatcher.rescue(self.bench.now)

    def cancel_build(self, pick: int) -> None:
        build = self.one(Build.objects.all(), pick)
        dispatcher.cancel_build(self.bench.person(), build.id, now=self.bench.now)

    def cancel_job(self, pick: int) -> None:
        job = self.one(Job.objects.all(), pick)
        dispatcher.cancel_job(self.bench.person(), job.id, now=self.bench.now)

    def retry(self, pick: int) -> None:
        job = self.one(Job.objects.filter(state="failed"), pick)
        dispatcher.retry_job(self.bench.person(), job.id, now=self.bench.now)

    def end(self) -> None:
        """Let every lease lapse and every job run on a fresh engine."""
        for _ in range(3):
            dispatcher.rescue(self.bench.later(200))
        self.bench.engine("last", capacity=8)
        self.bench.run_all()


class Lifelines(TestCase):
    """Random lives."""

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 50)), max_size=60))
    def test_every_job_ends_once_and_everything_is_told(self, deeds: Any) -> None:
        life = Life()
        for deed, pick in [("submit", 2), ("connect", 2), ("assign", 0), *deeds]:
            life.do(deed, pick)
        life.end()
        self.check_ends()
        self.check_builds(life.bench)
        self.check_feed(life.bench)

    def check_ends(self) -> None:
        assert not Job.objects.exclude(state__in=["completed", "failed"]).exists()
        ends = JobEvent.objects.filter(to_state__in=["completed", "failed"])
        counted = Counter(ends.values_list("job", flat=True))
        assert set(counted) == set(Job.objects.values_list("id", flat=True))
        assert set(counted.values()) <= {1}

    def check_builds(self, bench: Bench) -> None:
        told = Counter(each["build_id"] for each in bench.events(event="world_update"))
        for build in Build.objects.all():
            current = [
                job for job in build.jobs.all()
                if job.state == "completed" or job.opening == build.opening
            ]  # fmt: skip
            states = Counter(job.state for job in current)
            assert (build.completed, build.failed) == (states["completed"], states["failed"])
            assert len(current) == build.total
            assert build.state == ("failed" if build.failed else "completed")
            assert told[build.id] == (build.state == "completed")

    def check_feed(self, bench: Bench) -> None:
        events = bench.events()
        assert [each["seq"] for each in events] == list(range(1, len(events) + 1))
        shown = {each["job_id"]: each["status"] for each in events if each["event"] == "job_status"}
        assert shown == dict(Job.objects.values_list("id", "state"))
