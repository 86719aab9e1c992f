"""A bench for the job core: a person, engines and a clock that the test pushes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from engine import dispatcher, feed
from engine.adapter import AdmittedWorld, admit
from engine.models import Build, Job
from engine.outcome import Delivery, Outcome

JOB_TYPES = ["BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY"]


def world(entities: int = 12, name: str = "Harbour") -> AdmittedWorld:
    """A world with so many boxes: two jobs, and one for each box."""
    return admit(
        {
            "schema_version": "1.0",
            "world": {"id": "world_harbour", "name": name, "gravity": [0, -9.81, 0]},
            "scene": {"id": "scene_quay", "ambientLight": [0.5, 0.5, 0.5], "skybox": "dusk"},
            "entities": [
                {
                    "id": f"box_{index}",
                    "type": "object",
                    "transform": {
                        "position": [index, 0, 0],
                        "rotation": [0, 0, 0],
                        "scale": [1, 1, 1],
                    },
                    "material": {"shader": "standard", "texture": "wood", "color": [1, 1, 1]},
                    "components": {"mesh": "box", "collider": "box"},
                }
                for index in range(entities)
            ],
        }
    )


@dataclass
class Bench:
    """Drives the dispatcher by its public verbs; `now` moves only when a test says so."""

    now: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    outcomes: list[Outcome] = field(default_factory=list)
    made: int = 0

    world = staticmethod(world)

    def person(self, name: str = "ada") -> int:
        return get_user_model().objects.get_or_create(username=name)[0].pk

    def later(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def engine(self, name: str = "forge", *, capacity: int = 4, **ready: Any) -> str:
        self.made += 1
        outcome = dispatcher.engine_connected(
            name, node="node-1", sid_hash=f"{self.made:064}", now=self.now
        )
        session = str(outcome.reply["engine_session_id"])
        if capacity:
            ready = {"job_types": JOB_TYPES, "version": "1", **ready}
            dispatcher.engine_ready(session, capacity=capacity, now=self.now, **ready)
        return session

    def submit(self, user_id: int | None = None, entities: int = 12, **options: Any) -> Build:
        user_id = self.person() if user_id is None else user_id
        made = world(entities, options.pop("name", "Harbour"))
        outcome = dispatcher.submit(user_id, made, now=self.now, **options)
        self.outcomes.append(outcome)
        return Build.objects.get(pk=outcome.reply["build_id"])

    def assign(self, limit: int = 100) -> list[Delivery]:
        outcome = dispatcher.assign(self.now, limit)
        self.outcomes.append(outcome)
        return [each for each in outcome.deliveries if each.event == "engine_job"]

    def start(self, job: Delivery) -> Outcome:
        return dispatcher.report_started(*self.claim(job), now=self.now)

    def complete(self, job: Delivery, result: object = None) -> Outcome:
        value = {"ok": True} if result is None else result
        return dispatcher.report_completed(*self.claim(job), value, now=self.now)

    def fail(self, job: Delivery, *, retryable: bool = False, code: str = "broken") -> Outcome:
        error = {"code": code, "message": "It broke.", "retryable": retryable}
        return dispatcher.report_failed(*self.claim(job), error, now=self.now)

    def run(self, job: Delivery) -> Outcome:
        self.start(job)
        return self.complete(job)

    def run_all(self) -> list[Delivery]:
        """Run jobs until none is dispatched any more; return them in the order they came."""
        ran: list[Delivery] = []
        while batch := self.assign():
            for job in batch:
                self.run(job)
            ran += batch
        return ran

    def beat(self, session: str, *attempts: str) -> Outcome:
        return dispatcher.heartbeat(session, list(attempts), now=self.now)

    @staticmethod
    def claim(job: Delivery) -> tuple[str, str, str]:
        return job.engine_session_id, str(job.body["job_id"]), str(job.body["attempt_id"])

    @staticmethod
    def job(delivery: Delivery) -> Job:
        return Job.objects.get(pk=delivery.body["job_id"])

    def feed_after(self, user_id: int, seq: int) -> list[dict[str, Any]]:
        """What a person's feed has from the number after `seq` on, as data with event names."""
        page = feed.read(user_id, None, seq, 10_000)
        assert page.recovered
        return [{"event": each.event, **each.data} for each in page.events]

    def events(self, user_id: int | None = None, event: str = "") -> list[dict[str, Any]]:
        """The person's feed, as data with the name of the event."""
        user_id = self.person() if user_id is None else user_id
        return [each for each in self.feed_after(user_id, 0) if event in {"", each["event"]}]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench on the test's database."""
    return Bench()


@pytest.fixture
def make_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Make an `EngineBench` with other settings; to be called inside the test's loop."""
    from tests.engine.engine_bench import (  # noqa: PLC0415 - it makes worlds by this module
        EngineBench,
        shared_connection,
    )

    made: list[EngineBench] = []
    with shared_connection() as on_database:

        def make(**options: Any) -> EngineBench:
            made.append(EngineBench(monkeypatch, on_database=on_database, **options))
            return made[-1]

        yield make
        for each in made:
            each.hub.notices.stop()
            each.hub.kicks.stop()


@pytest.fixture
async def hub(make_hub: Callable[..., Any]) -> Any:
    """Both namespaces of a process; what is decided is written down, not stored."""
    return make_hub()
