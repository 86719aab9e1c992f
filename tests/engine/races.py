"""``python -m tests.engine.races``: decisions of several processes that meet on the same rows.

    python -m tests.engine.races --pairs 1000 --rounds 200 --seconds 20

On SQLite, or on ``DATABASE_URL`` (an empty database): two engines end the last two jobs of many
builds at once, every contest of `tests.engine.contests` is played so often, and threads do anything
to everything for so long. Prints one JSON object; exit code 1 if a promise was broken or anything
but a refusal was raised.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

RACERS = 2


def main() -> int:
    """Race, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine.races", description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000, help="of last jobs that end at once")
    parser.add_argument("--rounds", type=int, default=200, help="of each contest")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the storm")
    options = parser.parse_args()
    _set_up()
    from django.db import connection  # noqa: PLC0415 - Django is set up by now

    from tests.engine.contests import Contests  # noqa: PLC0415 - as above
    from tests.engine.storm import Storm  # noqa: PLC0415 - as above

    contests = Contests()
    broken = contests.play(options.rounds)
    storm = Storm(contests).run(options.seconds)
    contests.ring.close()
    last_two = race_the_last_two(options.pairs)
    verdict = {
        "vendor": connection.vendor,
        "last_two": last_two,
        "contests": broken,
        "storm": storm,
    }
    sys.stdout.write(json.dumps(verdict, indent=2, default=str) + "\n")
    held = last_two["broken"] or any(broken.values()) or storm["raised"] or storm["broken"]
    return int(bool(held))


def _set_up() -> None:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "hubsite.settings",
        "HUB_DEVELOPMENT_KEYS": "1",
        "HUB_DATA_DIR": tempfile.mkdtemp(prefix="hub-races-"),
        "HUB_BUILDS_IN_FLIGHT": "12",
        "HUB_QUEUED_JOBS": "1000000",
        "DEBUG": "0",
    }
    import django  # noqa: PLC0415 - the variables come first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - as above

    call_command("migrate", verbosity=0)


# The last two jobs of a build, completed at once: exactly one of them must open what follows.


def race_the_last_two(pairs: int) -> dict[str, Any]:
    """Without the build's lock each would see the other as open, and the build would hang."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - Django is set up by now

    from engine import dispatcher, feed  # noqa: PLC0415 - as above
    from engine.models import Build, FeedEvent, Job  # noqa: PLC0415 - as above
    from tests.engine.conftest import JOB_TYPES, world  # noqa: PLC0415 - as above

    user_id = get_user_model().objects.create_user("racer").pk
    proved = dispatcher.engine_connected("racer", node="n", sid_hash="s").reply
    session = str(proved["engine_session_id"])
    dispatcher.engine_ready(session, capacity=1_000, job_types=JOB_TYPES, version="1")
    submitted = dispatcher.submit(user_id, world(entities=3)).reply
    _copy(str(submitted["build_id"]), pairs - 1)
    jobs, builds = Job.objects.filter(build__user=user_id), Build.objects.filter(user=user_id)
    _bring_to_the_last_two(jobs, builds, session)
    raised = _race(jobs, session)
    numbers = FeedEvent.objects.filter(user_id=user_id).order_by("seq")
    head = feed.position(user_id).head
    claims = {
        "something was raised": raised,
        "a build did not hear of both": builds.exclude(completed=4).exists(),
        "a finishing job did not open": jobs.filter(finish=True, ready=False).exists(),
        "the feed has a gap": list(numbers.values_list("seq", flat=True))
        != list(range(1, head + 1)),
    }
    return {
        "pairs": pairs,
        "raised": dict(Counter(raised)),
        "broken": [claim for claim, holds in claims.items() if holds],
    }


def _copy(build_id: str, times: int) -> None:
    """Make more builds like one, as rows."""
    from engine.ids import new_build_id, new_job_id  # noqa: PLC0415 - Django is set up by now
    from engine.models import Build, Job  # noqa: PLC0415 - as above

    build = Build.objects.get(pk=build_id)
    jobs = list(build.jobs.all())
    copies, of_copies = [], []
    for _ in range(times):
        values = {field.attname: getattr(build, field.attname) for field in Build._meta.fields}
        copy = Build(**{**values, "id": new_build_id()})
        copies.append(copy)
        for job in jobs:
            fields = {field.attname: getattr(job, field.attname) for field in Job._meta.fields}
            of_copies.append(Job(**{**fields, "id": new_job_id(), "build_id": copy.id}))
    Build.objects.bulk_create(copies, batch_size=500)
    Job.objects.bulk_create(of_copies, batch_size=500)


def _bring_to_the_last_two(jobs: Any, builds: Any, session: str) -> None:
    from django.db.models import F, Value  # noqa: PLC0415 - Django is set up by now
    from django.db.models.functions import Concat, Substr  # noqa: PLC0415 - as above

    from engine.clock import database_now  # noqa: PLC0415 - as above

    now = database_now()
    live = {
        "attempt": 1,
        "attempt_id": Concat(Value("a"), Substr(F("id"), 2)),
        "engine_session": session,
        "lease_expires_at": now + timedelta(hours=1),
    }
    others = jobs.filter(finish=False)
    others.update(state="dispatched", ready=True, **live)
    others.update(state="running", started_at=now)
    done = {"state": "completed", "lease_expires_at": None, "finished_at": now}
    jobs.filter(stage__lt=2).update(**done)
    builds.update(state="running", completed=2, started_at=now)


def _race(jobs: Any, session: str) -> list[str]:
    """End both jobs of each pair at the same moment; return what was raised."""
    from django.db import connection  # noqa: PLC0415 - Django is set up by now

    from engine import dispatcher  # noqa: PLC0415 - as above

    pairs: dict[str, list[Any]] = {}
    for job in jobs.filter(stage=2, finish=False).order_by("build", "ordinal"):
        pairs.setdefault(job.build_id, []).append((job.id, job.attempt_id))
    gate = threading.Barrier(RACERS)
    raised: list[str] = []

    def run(lane: int) -> None:
        for pair in pairs.values():
            gate.wait()
            try:
                dispatcher.report_completed(session, *pair[lane], {"lane": lane})
            except Exception as error:  # noqa: BLE001 - whatever it is, the verdict must have it
                raised.append(repr(error))
        connection.close()

    racers = [threading.Thread(target=run, args=(lane,)) for lane in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return raised


if __name__ == "__main__":
    sys.exit(main())
