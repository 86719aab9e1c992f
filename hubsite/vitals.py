"""How the whole hub is, in one JSON object at ``/metrics/summary``: what ``manage.py top`` shows.

The process that is asked asks all others (``realtime.census``) and the database, once, when
somebody looks; nothing is kept for it. Who may read ``/metrics`` may read this.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from engine.models import Build, Job
from engine.views import engine_status
from hubsite.health import may_read_metrics
from realtime import census
from realtime.presence import LIVELINESS, State
from security import clock, database
from security.models import Violation

__all__ = ["summary", "vitals"]

Answers = Iterable[Mapping[str, Any]]

DATABASE_WITHIN_S: Final = 2.0
OPEN_JOBS: Final = ("queued", "dispatched", "running")
OPEN_BUILDS: Final = ("queued", "running")
MINUTE: Final = timedelta(minutes=1)

DEGRADED: Final[Mapping[str, str]] = {
    "bus_healthy": "channel_layer",
    "state_degraded": "shared_state",
    "draining": "draining",
}
"""What a process says of itself, and the name of the trouble when it is not as it should be."""


@require_safe
async def summary(request: HttpRequest) -> JsonResponse:
    """The vitals, for loopback or the bearer of HUB_METRICS_TOKEN."""
    if not may_read_metrics(request):
        return JsonResponse({"code": "forbidden", "message": "Not from here."}, status=403)
    return JsonResponse(await vitals(), headers={"Cache-Control": "no-store"})


async def vitals() -> dict[str, Any]:
    """Ask all processes and the database at the same time."""
    (processes, silent), stored = await asyncio.gather(_processes(), _stored())
    return {
        "server_time": clock.now_ms(),
        "degraded": sorted(_troubles(processes, silent, stored)),
        "silent_processes": silent,
        "processes": [
            {name: each[name] for name in each if name not in PEOPLE_KEYS} for each in processes
        ],
        "connections": sum(each["connections"] for each in processes),
        "namespaces": _added(each["namespaces"] for each in processes),
        "people": _people(processes),
        "rooms": _added(each["rooms"] for each in processes),
        **(stored or dict.fromkeys(STORED)),
    }


PEOPLE_KEYS: Final = frozenset({"people", "people_untold", "rooms"})
STORED: Final = ("jobs", "builds", "engines", "waiting_jobs", "violations")


async def _processes() -> tuple[list[Mapping[str, Any]], int]:
    """What each process says of itself, and how many that live said nothing."""
    here = census.current()
    if here is None:  # nobody has connected yet, and there is no lifespan (Daphne)
        return [], 0
    answers = await here.from_anywhere(lambda asked: asked.summaries())
    return sorted(answers, key=lambda each: (each["host"], each["pid"])), here.silent(len(answers))


async def _stored() -> dict[str, Any] | None:
    """What the database knows; None where it does not answer in time."""
    try:
        async with asyncio.timeout(DATABASE_WITHIN_S):
            return await database.read(_read)
    except Exception:  # noqa: BLE001 - whatever it is, that is what there is to say
        return None


def _read() -> dict[str, Any]:
    since = clock.moment(clock.now_ms()) - MINUTE
    refusals: QuerySet[Any] = Violation.objects.filter(at__gt=since).order_by()
    kinds = Counter(dict(refusals.values_list("kind").annotate(Sum("count"))))
    engines = engine_status()
    return {
        "jobs": _by_state(Job, OPEN_JOBS),
        "builds": _by_state(Build, OPEN_BUILDS),
        "engines": engines["engines"],
        "waiting_jobs": engines["waiting_jobs"],
        "violations": {"per_minute": kinds.total(), "kinds": dict(kinds.most_common())},
    }


def _by_state(model: Any, states: tuple[str, ...]) -> dict[str, int]:  # noqa: ANN401 - Job or Build
    rows = model.objects.filter(state__in=states).order_by().values_list("state")
    return {**dict.fromkeys(states, 0), **dict(rows.annotate(Count("pk")))}


def _people(processes: Answers) -> dict[str, Any]:
    """Everybody once, in the liveliest state that any process shows."""
    shown: dict[str, State] = {}
    for process in processes:
        for user_id, state in process["people"].items():
            if LIVELINESS[state] >= LIVELINESS[shown.get(user_id, state)]:
                shown[user_id] = state
    untold = sum(each["people_untold"] for each in processes)
    return {"total": len(shown) + untold, "states": dict(Counter(shown.values()))}


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def _troubles(processes: Answers, silent: int, stored: Mapping[str, Any] | None) -> Iterable[str]:
    yield from {
        trouble
        for each in processes
        for name, trouble in DEGRADED.items()
        if each[name] is not (name == "bus_healthy")
    }
    if silent:
        yield "silent_process"
    if stored is None:
        yield "database"
