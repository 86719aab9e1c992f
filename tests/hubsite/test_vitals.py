"""How the hub is, in one object: all processes added up, people counted once, troubles named."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from hubsite import vitals
from realtime import census
from security import clock
from security.models import Violation

pytestmark = pytest.mark.django_db(transaction=True)


def process(name: str, **changes: Any) -> dict[str, Any]:
    well = {
        "process": name,
        "host": "here",
        "pid": 1,
        "since_ms": 1,
        "memory_bytes": None,
        "draining": False,
        "bus_healthy": True,
        "bus_dropped": 0,
        "state_degraded": False,
        "connections": 2,
        "transports": {"websocket": 2},
        "namespaces": {"/": 2},
        "received": 10,
        "sent": 20,
        "delivered": 5,
        "people": {"1": "active"},
        "people_untold": 0,
        "rooms": {"lobby": 2},
    }
    return {**well, **changes}


class Processes:
    """Stands in for a census; ``missing`` processes do not answer."""

    def __init__(self) -> None:
        self.said: list[Mapping[str, Any]] = [process("n_1")]
        self.missing = 0

    async def from_anywhere(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        return await call(self)

    async def summaries(self) -> list[Mapping[str, Any]]:
        return self.said

    def silent(self, _answered: int) -> int:
        return self.missing


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    made = Processes()
    monkeypatch.setattr(census, "current", lambda: made)
    return made


def look() -> dict[str, Any]:
    answer = Client().get("/metrics/summary")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def test_all_processes_are_added_up_and_people_counted_once(processes: Processes) -> None:
    processes.said = [
        process("n_2", pid=2, people={"1": "inactive", "2": "idle"}, namespaces={"/agent": 1}),
        process("n_1", rooms={"garden": 1, "lobby": 1}),
    ]
    seen = look()
    assert [each["process"] for each in seen["processes"]] == ["n_1", "n_2"]
    assert (seen["connections"], seen["namespaces"]) == (4, {"/": 2, "/agent": 1})
    assert seen["people"] == {"total": 2, "states": {"active": 1, "idle": 1}}
    assert seen["rooms"] == {"lobby": 3, "garden": 1}
    assert (seen["degraded"], seen["silent_processes"]) == ([], 0)
    assert "people" not in seen["processes"][0]


def test_people_whom_a_process_did_not_name_are_counted(processes: Processes) -> None:
    processes.said = [process("n_1", people_untold=7)]
    assert look()["people"]["total"] == 8


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"bus_healthy": False}, "channel_layer"),
        ({"state_degraded": True}, "shared_state"),
        ({"draining": True}, "draining"),
    ],
)
def test_a_trouble_of_one_process_is_one_of_the_hub(
    processes: Processes, change: dict[str, bool], trouble: str
) -> None:
    processes.said = [process("n_1"), process("n_2", **change)]
    assert look()["degraded"] == [trouble]


def test_a_process_that_lives_and_says_nothing_is_a_trouble(processes: Processes) -> None:
    processes.missing = 1
    seen = look()
    assert (seen["degraded"], seen["silent_processes"]) == (["silent_process"], 1)


@pytest.mark.usefixtures("processes")
def test_refusals_of_the_last_minute_are_counted_by_kind() -> None:
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    for kind, seconds, count in [("b", 5, 3), ("a", 5, 1), ("a", 50, 4), ("a", 61, 9)]:
        at = now - timedelta(seconds=seconds)
        Violation.objects.create(
            kind=kind, code="malformed", severity="low", count=count, at=at, first_at=at, last_at=at
        )
    assert look()["violations"] == {"per_minute": 8, "kinds": {"a": 5, "b": 3}}


@pytest.mark.usefixtures("processes")
def test_the_work_and_the_engines_are_told() -> None:
    seen = look()
    assert seen["jobs"] == {"queued": 0, "dispatched": 0, "running": 0}
    assert seen["builds"] == {"queued": 0, "running": 0}
    assert (seen["engines"], seen["waiting_jobs"]) == ([], 0)


@pytest.mark.usefixtures("processes")
def test_a_database_that_does_not_answer_is_a_trouble_and_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone() -> None:
        raise OSError("gone")

    monkeypatch.setattr(vitals, "_read", gone)
    seen = look()
    assert seen["degraded"] == ["database"]
    assert [seen[name] for name in vitals.STORED] == [None] * len(vitals.STORED)


def test_before_anybody_has_connected_there_is_no_process_to_ask() -> None:
    seen = look()
    assert (seen["processes"], seen["degraded"]) == ([], [])


def test_it_is_for_those_who_may_read_metrics() -> None:
    refused = Client(headers={"X-Forwarded-For": "192.0.2.1"}).get("/metrics/summary")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
