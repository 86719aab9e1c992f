"""What a run left in the database, held against the promises of the job core."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Q

from engine.models import FINAL_STATES, Build, FeedCounter, FeedEvent, Job, JobEvent
from tests.chaos.people import Person

__all__ = ["judge", "open_jobs", "wait_for_the_end"]

LISTED = 20


def open_jobs() -> int:
    """How many jobs still have an end before them."""
    return Job.objects.exclude(state__in=FINAL_STATES).count()


def wait_for_the_end(*, stalls_after_s: float, within_s: float) -> tuple[float, bool]:
    """Wait until no job and no build is open; return how long it took, and whether it came.

    A machine may be slow, so the wait goes on as long as jobs still move, but not for ever.
    """
    began = moved_at = time.monotonic()
    moves = -1
    while (now := time.monotonic()) - began < within_s and now - moved_at < stalls_after_s:
        if not (open_jobs() or Build.objects.exclude(state__in=FINAL_STATES).exists()):
            return now - began, True
        if (count := JobEvent.objects.count()) != moves:
            moves, moved_at = count, now
        time.sleep(1.0)
    return time.monotonic() - began, False


def judge(people: Iterable[Person]) -> dict[str, Any]:
    """Return the facts, and under ``faults_found`` each promise that was broken, with examples."""
    people = list(people)
    found = {
        "open_jobs": _ids(Job.objects.exclude(state__in=FINAL_STATES)),
        "open_builds": _ids(Build.objects.exclude(state__in=FINAL_STATES)),
        "completed_twice": _completed_twice(),
        "completed_without_event": _completed_without_event(),
        "lost_builds": sorted({each for person in people for each in person.accepted} - _builds()),
        "feeds_with_gaps": _feeds_with_gaps(),
        "outcomes_other_than_one_per_opening": _wrong_outcomes(),
        "world_updates_other_than_one": _wrong_world_updates(),
        "people_who_missed_events": [each.name for each in people if _missed(each)],
    }
    return {
        "faults_found": {name: each[:LISTED] for name, each in found.items() if each},
        "builds": _counted(Build, "state"),
        "jobs": _counted(Job, "state"),
        "errors": _counted(Job.objects.filter(state="failed"), "error_code"),
        "released": _released(),
        "people": dict(sum((person.seen for person in people), Counter())),
    }


def _builds() -> set[str]:
    return set(Build.objects.values_list("pk", flat=True))


def _ids(rows: Any) -> list[str]:
    return list(rows.values_list("pk", flat=True))


def _counted(rows: Any, field: str) -> dict[str, int]:
    objects = getattr(rows, "objects", rows)
    return dict(objects.order_by().values_list(field).annotate(Count("pk")))


def _completed_twice() -> list[str]:
    done = JobEvent.objects.filter(event="complete").order_by().values("job")
    return list(done.annotate(n=Count("pk")).filter(n__gt=1).values_list("job", flat=True))


def _completed_without_event() -> list[str]:
    told = JobEvent.objects.filter(event="complete").values("job")
    return _ids(Job.objects.filter(state="completed").exclude(pk__in=told))


def _released() -> dict[str, int]:
    rows = JobEvent.objects.filter(event="release").values_list("detail", flat=True)
    return dict(Counter(str(detail.get("reason")) for detail in rows))


def _feeds_with_gaps() -> list[int]:
    broken = []
    for counter in FeedCounter.objects.all():
        numbers = FeedEvent.objects.filter(user=counter.user_id).order_by("seq")
        if list(numbers.values_list("seq", flat=True)) != list(range(1, counter.head + 1)):
            broken.append(counter.user_id)
    return broken


def _told(event: str) -> Counter[tuple[str, str]]:
    """Count what feeds say of builds, by build and state."""
    counted: Counter[tuple[str, str]] = Counter()
    for entry in FeedEvent.objects.filter(event=event).iterator():
        data = _data(entry)
        counted[data["build_id"], data.get("status", "")] += 1
    return counted


def _data(entry: FeedEvent) -> dict[str, Any]:
    import orjson  # noqa: PLC0415 - as Django, once the run's settings are chosen

    data: dict[str, Any] = orjson.loads(entry.body)
    return data


def _wrong_outcomes() -> list[str]:
    """Each opening ends once: all but the last failed, the last as the build did."""
    told = _told("build_status")
    wrong = []
    for build_id, state, opening in Build.objects.values_list("pk", "state", "opening"):
        completed = int(state == "completed")
        expected = completed, opening - completed
        if (told[build_id, "completed"], told[build_id, "failed"]) != expected:
            wrong.append(build_id)
    return wrong


def _wrong_world_updates() -> list[str]:
    told = _told("world_update")
    completed = set(_ids(Build.objects.filter(Q(state="completed"))))
    once = {build_id for (build_id, _), count in told.items() if count == 1}
    return sorted(completed ^ once | {each for (each, _), count in told.items() if count != 1})


def _missed(person: Person) -> bool:
    """Whether a socket of theirs skipped or repeated a number, or the last was never heard."""
    counter = FeedCounter.objects.filter(user__username=person.name).first()
    broken = person.seen["gaps"] + person.seen["repeated"] + person.seen["not recovered"]
    return bool(broken) or (counter is not None and person.last != counter.head)
