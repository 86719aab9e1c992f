"""Threads that do anything to everything for a while, and what must hold when all has ended."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from engine import dispatcher
from engine.models import Build, EngineSession, FeedCounter, FeedEvent, Job, JobEvent
from security.refusals import Refused
from tests.engine.conftest import JOB_TYPES
from tests.engine.contests import LANES, Contests

__all__ = ["Storm"]

FINAL: Final = ("completed", "failed")
LIVE: Final = ("dispatched", "running")
NAMES: Final = ("forge", "anvil", "mill", "loom")
PACE: Final = 30  # a second of the storm is half a minute of leases and pauses
BROKEN: Final = {"code": "broken", "message": "", "retryable": False}
FLAKY: Final = {"code": "flaky", "message": "", "retryable": True}
WEIGHTS: Final[Mapping[str, int]] = {
    "assign": 8,
    "work": 16,
    "submit": 3,
    "beat": 5,
    "rescue": 3,
    "cancel": 1,
    "retry": 2,
    "connect": 1,
    "lose": 1,
}


class Storm:
    """Threads that do anything to everything, and what they leave behind when all has ended."""

    def __init__(self, contests: Contests) -> None:
        self._contests = contests
        self._errors: Counter[str] = Counter()
        self._done: Counter[str] = Counter()

    def run(self, seconds: float) -> dict[str, Any]:
        """Storm, let everything end, and return the facts with what was broken."""
        self._began = time.monotonic()
        ends = self._began + seconds
        seeds = range(LANES)
        self._contests.ring.at_once(*[lambda seed=seed: self._live(seed, ends) for seed in seeds])
        self._settle()
        return {"done": dict(self._done), "raised": dict(self._errors), "broken": self._broken()}

    def _live(self, seed: int, ends: float) -> None:
        chance = random.Random(seed)  # noqa: S311 - a storm that can be repeated, as far as it can
        name = NAMES[seed]
        own = _Stormer(self._contests, name, chance, began=self._began)
        deeds = sorted(WEIGHTS)
        while time.monotonic() < ends:
            (deed,) = chance.choices(deeds, [WEIGHTS[each] for each in deeds])
            self._try(deed, getattr(own, deed))

    def _try(self, deed: str, call: Callable[[], None]) -> None:
        try:
            call()
            self._done[deed] += 1
        except Refused as refused:
            self._done[f"{deed}: {refused.code}"] += 1
        except Exception as error:  # noqa: BLE001 - it is what the storm looks for
            self._errors[f"{deed}: {error!r}"[:300]] += 1

    def _settle(self) -> None:
        bench = self._contests.bench
        bench.later(PACE * (time.monotonic() - self._began) + 3600)
        for session in EngineSession.objects.filter(closed_at=None):
            dispatcher.engine_closed(session.id, now=bench.now)
        while dispatcher.rescue(bench.later(60)).reply["more"]:
            pass
        bench.engine("last", capacity=1_000)
        bench.later(60)
        bench.run_all()

    def _broken(self) -> list[str]:
        jobs = dict(Job.objects.values_list("pk", "state"))
        ends = Counter(
            JobEvent.objects.filter(to_state__in=FINAL).order_by().values_list("job", flat=True)
        )
        told = Counter(
            json.loads(body)["build_id"]
            for body in FeedEvent.objects.filter(event="world_update").values_list(
                "body", flat=True
            )
        )
        completed = Build.objects.filter(state="completed").values_list("pk", flat=True)
        gaps = [
            counter.pk
            for counter in FeedCounter.objects.all()
            if FeedEvent.objects.filter(user=counter.pk).count() != counter.head
        ]
        claims = {
            "a job has not ended": not set(jobs.values()) <= set(FINAL),
            "a job ended other than once": ends != Counter(dict.fromkeys(jobs, 1)),
            "a world was told other than once": told != Counter(dict.fromkeys(completed, 1)),
            "a feed has a gap": bool(gaps),
            "nothing was completed": not completed,
        }
        return [claim for claim, holds in claims.items() if holds]


class _Stormer:
    """One thread: an engine of its own, and everything that the others do as well."""

    def __init__(
        self, contests: Contests, name: str, chance: random.Random, *, began: float
    ) -> None:
        self._contests, self._bench = contests, contests.bench
        self._name, self._chance, self._began = name, chance, began
        self._session = ""

    @property
    def _now(self) -> datetime:
        """Time flies: `PACE` seconds in one."""
        return self._bench.now + timedelta(seconds=PACE * (time.monotonic() - self._began))

    def connect(self) -> None:
        reply = dispatcher.engine_connected(self._name, node="n", sid_hash="s", now=self._now).reply
        self._session = str(reply["engine_session_id"])
        held = self._held("engine_session__name", self._name)
        if self._chance.random() < 0.5:
            listed = [{"job_id": job, "attempt_id": attempt} for job, attempt, _ in held]
            dispatcher.engine_resume(self._session, listed, now=self._now)
        dispatcher.engine_ready(self._session, capacity=4, job_types=JOB_TYPES, now=self._now)

    def lose(self) -> None:
        dispatcher.engine_closed(self._session, now=self._now)

    def assign(self) -> None:
        dispatcher.assign(self._now)

    def rescue(self) -> None:
        dispatcher.rescue(self._now)

    def beat(self) -> None:
        held = self._held("engine_session", self._session)
        dispatcher.heartbeat(self._session, [attempt for _, attempt, _ in held], now=self._now)

    def work(self) -> None:
        held = self._held("engine_session", self._session)
        if not held:
            return
        job_id, attempt_id, state = self._chance.choice(held)
        claim = (self._session, job_id, attempt_id)
        if state == "dispatched":
            dispatcher.report_started(*claim, now=self._now)
        elif self._chance.random() < 0.9:
            dispatcher.report_completed(*claim, {}, now=self._now)
        else:
            error = self._chance.choice([BROKEN, FLAKY, FLAKY, FLAKY])
            dispatcher.report_failed(*claim, error, now=self._now)

    def submit(self) -> None:
        world = self._bench.world(self._chance.randint(1, 5))
        dispatcher.submit(self._contests.person, world, now=self._now)

    def cancel(self) -> None:
        ids = list(Build.objects.exclude(state__in=FINAL).values_list("pk", flat=True)[:20])
        if ids:
            chosen = self._chance.choice(ids)
            dispatcher.cancel_build(self._contests.person, chosen, now=self._now)

    def retry(self) -> None:
        failed = Job.objects.filter(state="failed").order_by("-queued_at")
        ids = list(failed.values_list("pk", flat=True)[:20])
        if ids:
            chosen = self._chance.choice(ids)
            dispatcher.retry_job(self._contests.person, chosen, now=self._now)

    def _held(self, field: str, value: str) -> list[tuple[str, str, str]]:
        rows = Job.objects.filter(**{field: value}, state__in=LIVE)
        return list(rows.values_list("pk", "attempt_id", "state"))
