"""Two engines end the last two jobs of many builds at once; run in a process of its own.

`main(rounds)` prints one JSON object: what the races left behind, counted. Django is set up before
this is imported, with `HUB_BUILDS_IN_FLIGHT` and `HUB_QUEUED_JOBS` large enough.
"""

import json
import sys
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.models import F, Value
from django.db.models.functions import Concat, Substr

from engine import dispatcher, feed
from engine.clock import database_now
from engine.models import Build, FeedEvent, Job
from tests.engine.conftest import JOB_TYPES, world

RACERS = 2


def prepare(rounds: int) -> tuple[int, str]:
    """Make builds of three entities, each with its two plain spawns running; the rest is raw."""
    call_command("migrate", verbosity=0)
    user_id = get_user_model().objects.create_user("racer").pk
    session = str(
        dispatcher.engine_connected("forge", node="n", sid_hash="s").reply["engine_session_id"]
    )
    dispatcher.engine_ready(session, capacity=1_000, job_types=JOB_TYPES, version="1")
    admitted = world(entities=3)
    for _ in range(rounds):
        dispatcher.submit(user_id, admitted)
    bring_to_the_last_two(session)
    return user_id, session


def bring_to_the_last_two(session: str) -> None:
    now = database_now()
    live = {
        "attempt": 1,
        "attempt_id": Concat(Value("a"), Substr(F("id"), 2)),
        "engine_session": session,
        "lease_expires_at": now + timedelta(hours=1),
    }
    others = Job.objects.filter(finish=False)
    others.update(state="dispatched", ready=True, **live)
    others.update(state="running", started_at=now)
    done = {"state": "completed", "lease_expires_at": None, "finished_at": now}
    Job.objects.filter(stage__lt=2).update(**done)
    Build.objects.update(state="running", completed=2, started_at=now)


def race(session: str, pairs: list[list[Any]]) -> list[str]:
    """End both jobs of each pair at the same moment; return what was raised."""
    gate = threading.Barrier(RACERS)
    errors: list[str] = []

    def run(lane: int) -> None:
        for pair in pairs:
            gate.wait()
            try:
                dispatcher.report_completed(session, *pair[lane], {"lane": lane})
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                errors.append(repr(error))
        connection.close()

    racers = [threading.Thread(target=run, args=(lane,)) for lane in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return errors


def main(rounds: int) -> None:
    user_id, session = prepare(rounds)
    pairs: dict[str, list[Any]] = {}
    for job in Job.objects.filter(stage=2, finish=False).order_by("build", "ordinal"):
        pairs.setdefault(job.build_id, []).append((job.id, job.attempt_id))
    errors = race(session, list(pairs.values()))
    head = feed.position(user_id).head
    numbers = (
        FeedEvent.objects.filter(user_id=user_id).order_by("seq").values_list("seq", flat=True)
    )
    left = {
        "vendor": connection.vendor,
        "errors": errors,
        "completed": Counter(Build.objects.values_list("completed", flat=True)),
        "finishing_ready": Job.objects.filter(finish=True, ready=True).count(),
        "feed_without_gaps": list(numbers) == list(range(1, head + 1)),
    }
    sys.stdout.write(json.dumps(left))
