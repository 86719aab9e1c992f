"""A model check of the job core: two people, two engines and a pushed clock, in any order of deeds.

After every deed the promises of docs/engine.md are held against the database. Many more examples
than the suite has time for, on SQLite or on ``DATABASE_URL``:

    python -m tests.engine.lives --examples 2000 --steps 80

prints a JSON verdict; exit code 1 if a promise was broken, with the shortest way there.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

__all__ = ["Life", "live"]

PICK = st.integers(0, 60)
NAMES = ("forge", "anvil")
PEOPLE = ("ada", "grace")
FINAL = ("completed", "failed")
LIVE = ("dispatched", "running")
WEEK_S = 7 * 24 * 3600
SLIGHT, SOUND = {"code": "flaky", "message": "", "retryable": True}, {"code": "broken"}


class Seen(NamedTuple):
    """What the promises look at of a job."""

    id: str
    state: str
    build: str
    stage: int
    finish: bool
    opening: int
    build__opening: int

    @property
    def counts(self) -> bool:
        """Whether it counts for its build now: a retry did not replace it."""
        return self.state == "completed" or self.opening == self.build__opening

    def comes_before(self, other: "Seen") -> bool:
        """Whether it must be completed before the other one may be at an engine."""
        earlier = self.stage < other.stage or (other.finish and not self.finish)
        return self.build == other.build and self.counts and earlier


class Life(RuleBasedStateMachine):
    """A hub to which anything may happen; each example is rolled back at its end."""

    def __init__(self) -> None:
        super().__init__()
        from django.db import transaction  # noqa: PLC0415 - Django is set up by now

        from tests.engine.conftest import Bench  # noqa: PLC0415 - as above

        self._example = transaction.atomic()
        self._example.__enter__()
        self.bench = Bench()
        self.people = [self.bench.person(name) for name in PEOPLE]
        self.sessions: dict[str, str] = {}
        self.sent: list[Any] = []
        self.ended: dict[str, str] = {}
        self.heads = dict.fromkeys(self.people, 0)
        self.last_told = 0
        self.told: Counter[str] = Counter()

    def teardown(self) -> None:
        """Let every lease lapse and every job run on a fresh engine: then all must have ended."""
        from django.db import transaction  # noqa: PLC0415 - Django is set up by now

        try:
            self.end()
        finally:
            transaction.set_rollback(True)
            self._example.__exit__(None, None, None)

    # -- deeds

    @initialize(entities=st.integers(1, 3))
    def begin(self, entities: int) -> None:
        self.submit(pick=entities)
        self.connect(pick=2)
        self.assign()

    @rule(pick=PICK)
    def submit(self, pick: int) -> None:
        with suppress(self.refused):
            self.bench.submit(self.people[pick % 2], entities=1 + pick % 3)

    @rule(pick=PICK)
    def connect(self, pick: int) -> None:
        name = NAMES[pick % 2]
        self.sessions[name] = self.bench.engine(name, capacity=1 + pick % 3)

    @rule()
    def assign(self) -> None:
        given = self.bench.assign()
        self.sent += given
        for session, capacity in self.rows("EngineSession", "id", "capacity").items():
            if session in {each.engine_session_id for each in given}:
                assert len(self.held(session)) <= capacity

    @precondition(lambda self: self.sessions)
    @rule(pick=PICK)
    def lose(self, pick: int) -> None:
        self.decide("engine_closed", self.one(self.sessions.values(), pick))

    @precondition(lambda self: self.sessions)
    @rule(pick=PICK)
    def drain(self, pick: int) -> None:
        self.decide("engine_draining", self.one(self.sessions.values(), pick))

    @precondition(lambda self: self.sessions)
    @rule(pick=PICK)
    def resume(self, pick: int) -> None:
        name = self.one(self.sessions, pick)
        session = self.sessions[name] = self.bench.engine(name, capacity=2)
        listed = [
            {"job_id": job.body["job_id"], "attempt_id": job.body["attempt_id"]}
            for job in self.sent[pick % 4 :]
        ]
        self.decide("engine_resume", session, listed)

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def start(self, pick: int) -> None:
        self.decide("report_started", *self.claim(pick))

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def progress(self, pick: int) -> None:
        self.decide("report_progress", *self.claim(pick), pick)

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def complete(self, pick: int) -> None:
        self.decide("report_completed", *self.claim(pick), {"pick": pick % 2})

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def run(self, pick: int) -> None:
        claim = self.claim(pick)
        self.decide("report_started", *claim)
        self.decide("report_completed", *claim, {"pick": 0})

    @precondition(lambda self: self.sent)
    @rule(pick=PICK, error=st.sampled_from([SLIGHT, SOUND]))
    def fail(self, pick: int, error: Any) -> None:
        self.decide("report_failed", *self.claim(pick), error)

    @precondition(lambda self: self.sessions)
    @rule(pick=PICK)
    def beat(self, pick: int) -> None:
        attempts = [str(job.body["attempt_id"]) for job in self.sent[-4:]]
        self.decide("heartbeat", self.one(self.sessions.values(), pick), attempts)

    @rule(seconds=st.sampled_from([0.3, 2, 9, 16, 130, WEEK_S]))
    def lapse(self, seconds: float) -> None:
        self.bench.later(seconds)
        self.decide("rescue")

    @rule(pick=PICK)
    def cancel_build(self, pick: int) -> None:
        build_id, owner = self.one(self.rows("Build", "id", "user").items(), pick)
        self.decide("cancel_build", owner, build_id)

    @rule(pick=PICK)
    def cancel_job(self, pick: int) -> None:
        job_id, owner = self.one(self.rows("Job", "id", "build__user").items(), pick)
        self.decide("cancel_job", owner, job_id)

    @precondition(lambda self: "failed" in self.ended.values())
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        job_id = self.one([job for job, state in self.ended.items() if state == "failed"], pick)
        self.decide("retry_job", self.rows("Job", "id", "build__user")[job_id], job_id)

    @rule(pick=PICK)
    def pause_dispatch(self, pick: int) -> None:
        self.decide(("pause", "resume", "resume")[pick % 3], None)

    # -- promises

    @invariant()
    def promises_hold(self) -> None:
        jobs = [Seen(*row) for row in self.objects("Job").values_list(*Seen._fields)]
        self.every_job_ends_once_and_stays_so(jobs)
        self.stages_run_in_order_and_the_finishing_job_last(jobs)
        builds = list(self.objects("Build").defer("world_text"))
        self.builds_are_the_sum_of_their_jobs(builds, jobs)
        self.feeds_have_no_gap_and_tell_each_world_once(builds)

    def every_job_ends_once_and_stays_so(self, jobs: Sequence["Seen"]) -> None:
        ended = {job.id: job.state for job in jobs if job.state in FINAL}
        assert {job_id: ended.get(job_id) for job_id in self.ended} == self.ended
        ends = Counter(self.listed("JobEvent", "job", to_state__in=FINAL))
        assert ends == Counter(dict.fromkeys(ended, 1))
        self.ended = ended

    def stages_run_in_order_and_the_finishing_job_last(self, jobs: Sequence["Seen"]) -> None:
        for job in jobs:
            if job.state in LIVE:
                assert job.opening == job.build__opening
                assert {each.state for each in jobs if each.comes_before(job)} <= {"completed"}

    def builds_are_the_sum_of_their_jobs(
        self, builds: Sequence[Any], jobs: Sequence["Seen"]
    ) -> None:
        for build in builds:
            counted = Counter(job.state for job in jobs if job.counts and job.build == build.id)
            assert counted.total() == build.total
            assert (build.completed, build.failed) == (counted["completed"], counted["failed"])
            assert (build.state in FINAL) == (build.completed + build.failed == build.total)
            assert (build.state == "completed") == (build.completed == build.total)

    def feeds_have_no_gap_and_tell_each_world_once(self, builds: Sequence[Any]) -> None:
        news = self.objects("FeedEvent").filter(pk__gt=self.last_told)
        for pk, user_id, seq, event, body in news.values_list("pk", "user", "seq", "event", "body"):
            assert seq == self.heads[user_id] + 1
            self.last_told, self.heads[user_id] = pk, seq
            self.told.update([json.loads(body)["build_id"]] if event == "world_update" else [])
        completed = [build.id for build in builds if build.state == "completed"]
        assert self.told == Counter(dict.fromkeys(completed, 1))

    # -- the end

    def end(self) -> None:
        self.decide("resume", None)
        for _ in range(3):
            self.bench.later(200)
            self.decide("rescue")
        self.bench.engine("last", capacity=8)
        self.bench.run_all()
        self.promises_hold()
        assert set(self.rows("Job", "id", "state").values()) <= set(FINAL)
        shown = {
            each["job_id"]: each["status"]
            for user_id in self.people
            for each in self.bench.feed_after(user_id, 0)
            if each["event"] == "job_status"
        }
        assert shown == self.rows("Job", "id", "state")

    # -- tools

    @property
    def refused(self) -> type[Exception]:
        from security.refusals import Refused  # noqa: PLC0415 - Django is set up by now

        return Refused

    def decide(self, name: str, *asked: Any) -> None:
        """Take a decision; one that is refused must have written nothing."""
        from engine import dispatcher  # noqa: PLC0415 - Django is set up by now

        moves = self.objects("JobEvent").count()
        try:
            getattr(dispatcher, name)(*asked, now=self.bench.now)
        except self.refused:
            assert self.objects("JobEvent").count() == moves

    def claim(self, pick: int) -> tuple[str, str, str]:
        """An attempt as some engine's present connection names it, mostly the right one."""
        session, job_id, attempt_id = self.bench.claim(self.one(self.sent[-6:], pick))
        if pick % 5 == 0 and self.sessions:
            session = self.one(self.sessions.values(), pick // 7)
        return session, job_id, attempt_id

    def held(self, session: str) -> list[Any]:
        return self.listed("Job", "id", engine_session=session, state__in=LIVE)

    def one(self, things: Any, pick: int) -> Any:
        things = list(things)
        return things[pick % len(things)]

    def objects(self, model: str) -> Any:
        from django.apps import apps  # noqa: PLC0415 - Django is set up by now

        return apps.get_model("engine", model).objects.order_by("pk")

    def rows(self, model: str, *fields: str) -> dict[Any, Any]:
        return dict(self.objects(model).values_list(*fields))

    def listed(self, model: str, field: str, **where: Any) -> list[Any]:
        return list(self.objects(model).filter(**where).values_list(field, flat=True))


def live(*, examples: int, steps: int) -> None:
    """Live so many lives of so many deeds each. Raises what broke a promise."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis leaves it untyped
        Life, settings=settings(max_examples=examples, stateful_step_count=steps)
    )


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine.lives", description=__doc__)
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=80, help="deeds in each, at most")
    options = parser.parse_args()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "hubsite.settings",
        "HUB_DEVELOPMENT_KEYS": "1",
        "HUB_DATA_DIR": tempfile.mkdtemp(prefix="hub-lives-"),
        "DEBUG": "0",
    }
    import django  # noqa: PLC0415 - the variables come first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - as above
    from django.db import connection  # noqa: PLC0415 - as above

    call_command("migrate", verbosity=0)
    settings.register_profile("lives", deadline=None, suppress_health_check=[], print_blob=True)
    settings.load_profile("lives")
    began, broken = time.monotonic(), ""
    try:
        live(examples=options.examples, steps=options.steps)
    except Exception as error:  # noqa: BLE001 - whatever broke is the verdict
        broken = "\n".join([repr(error), *getattr(error, "__notes__", [])])
    verdict = {
        "vendor": connection.vendor,
        "examples": options.examples,
        "steps": options.steps,
        "seconds": round(time.monotonic() - began, 1),
        "broken": broken,
    }
    sys.stdout.write(json.dumps(verdict, indent=2) + "\n")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
