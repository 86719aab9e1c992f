"""Effects come after their decision, reach whom they are for, and outlive a database in trouble."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from engine.outcome import Broadcast, Delivery, Outcome
from realtime.bus import Bus
from security import database
from security.refusals import Refused
from tests.engine.conftest import Bench as Work
from tests.engine.engine_bench import IDS, EngineBench, world_of
from tests.realtime.guarded import settle

ABORT = {**IDS, "reason": "cancelled"}


def decision() -> Outcome:
    """A decision that the bench answers from its table."""
    raise NotImplementedError


async def decided(hub: EngineBench, **effects: Any) -> Outcome:
    """Take a decision with these effects."""
    hub.answers["decision"] = Outcome(**effects)
    return await hub.coordinator.decide(decision)


def wakes(hub: EngineBench) -> int:
    return len(hub.asked("assign"))


# -- effects


async def test_effects_come_only_after_the_decision_returned(hub: EngineBench) -> None:
    engine, person = await hub.proved(), await hub.joined("ada")
    progress = {"job_id": "j_1", "progress": 5}
    release = hub.hold("decision")
    task = asyncio.ensure_future(
        decided(
            hub,
            reply={"done": True},
            deliveries=(Delivery("e_1", hub.node.id, "job_abort", ABORT),),
            broadcasts=(Broadcast(1, "job_status", progress),),
            feed_heads={1: 7},
            assignable=True,
        )
    )
    await settle()
    assert engine.opened("job_abort") == []
    assert person.heard("job_status") == []
    assert (hub.published, wakes(hub)) == ([], 0)
    release()
    assert (await task).reply == {"done": True}
    await settle()
    assert engine.opened("job_abort") == [ABORT]
    assert person.heard("job_status") == [progress]
    assert ("feed", {"heads": {"1": 7}}) in hub.published
    assert wakes(hub) == 1


async def test_a_decision_that_refuses_has_no_effects(hub: EngineBench) -> None:
    await hub.proved()
    hub.published.clear()
    hub.answers["decision"] = Refused("conflict")
    with pytest.raises(Refused):
        await hub.coordinator.decide(decision)
    await hub.advance(1)
    assert (hub.published, wakes(hub)) == ([], 1)  # the reaper's own round


async def test_progress_is_for_its_owner_alone(hub: EngineBench) -> None:
    ada, grace = await hub.joined("ada"), await hub.joined("grace")
    await decided(hub, broadcasts=(Broadcast(1, "job_status", {"progress": 5}),))
    assert len(ada.heard("job_status")) == 1
    assert grace.heard("job_status") == []


async def test_a_feed_that_moved_is_read_for_the_people_here(hub: EngineBench) -> None:
    ada = await hub.joined("ada")
    head = hub.shelf.append(1, "build_status")
    await decided(hub, feed_heads={1: head, 2: 9})
    await settle()
    assert ada.heard("build_status") == [{"seq": head}]


# -- deliveries of other processes


async def test_what_is_for_another_process_goes_over_the_bus_only(hub: EngineBench) -> None:
    engine = await hub.proved()
    await decided(hub, deliveries=(Delivery("e_1", "n_far", "job_abort", ABORT),))
    assert engine.opened("job_abort") == []
    (topic, message) = hub.published[-1]
    assert message == {"engine_session_id": "e_1", "event": "job_abort", "body": ABORT}
    assert topic.startswith("engine:")
    assert "n_far" not in topic  # any name makes a topic that every layer takes


async def test_each_process_hears_its_own_topic(hub: EngineBench) -> None:
    engine = await hub.proved()
    await decided(hub, deliveries=(Delivery("e_1", "n_far", "job_abort", ABORT),))
    far, message = hub.published[-1]
    own = next(topic for topic in hub.node.bus._listeners if topic.startswith("engine:"))
    assert own != far
    _arrive(hub.node.bus, far, message)
    assert engine.opened("job_abort") == []
    _arrive(hub.node.bus, own, message)
    assert engine.opened("job_abort") == [ABORT]


async def test_a_replaced_engine_is_closed_by_the_process_that_holds_it(hub: EngineBench) -> None:
    engine = await hub.proved()
    hub.coordinator.close_engine("e_1", "n_far")
    _, message = hub.published[-1]
    assert not engine.left()
    own = next(topic for topic in hub.node.bus._listeners if topic.startswith("engine:"))
    _arrive(hub.node.bus, own, message)
    assert engine.wires.code == 4409


def _arrive(bus: Bus, topic: str, message: Mapping[str, Any]) -> None:
    bus._deliver({"type": "hub", "topic": topic, "origin": "n_other", "body": message})


# -- assigning


async def test_wakes_while_jobs_are_assigned_become_one_round(hub: EngineBench) -> None:
    release = hub.hold("assign")
    hub.coordinator.wake()
    await settle()
    for _ in range(10):
        hub.coordinator.wake()
        await settle()
    assert wakes(hub) == 1
    release()
    await settle()
    assert wakes(hub) == 2


async def test_assigning_goes_on_while_it_finds_something(hub: EngineBench) -> None:
    engine = await hub.proved()
    job = Outcome(deliveries=(Delivery("e_1", hub.node.id, "engine_job", {"job_id": "j_1"}),))
    hub.answers["assign"] = [job, job]
    hub.coordinator.wake()
    await settle()
    assert wakes(hub) == 3
    assert len(engine.opened("engine_job")) == 2


TROUBLES = [
    OperationalError("database is locked"),
    InterfaceError("connection already closed"),
    database.DatabaseBusy("hub-writer", 1_000),
    database.DatabaseTimedOut(25.0),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: type(trouble).__name__)
async def test_a_database_in_trouble_is_logged_and_the_next_second_goes_on(
    hub: EngineBench, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    hub.answers |= {"assign": [trouble], "rescue": [trouble]}
    hub.coordinator.wake()
    await hub.advance(1)
    assert wakes(hub) == len(hub.asked("rescue")) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    await hub.advance(1)
    assert (wakes(hub), len(hub.asked("rescue"))) == (2, 2)


async def test_even_a_fault_of_ours_stops_neither(
    hub: EngineBench, caplog: pytest.LogCaptureFixture
) -> None:
    hub.answers |= {"assign": [ValueError("a fault")], "rescue": [ValueError("a fault")]}
    hub.coordinator.wake()
    await hub.advance(1)
    await hub.advance(1)
    assert (wakes(hub), len(hub.asked("rescue"))) == (2, 2)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


# -- the reaper


async def test_the_reaper_comes_every_second(hub: EngineBench) -> None:
    await hub.advance(0.9)
    assert hub.asked("rescue") == []
    for count in (1, 2, 3):
        await hub.advance(1)
        assert len(hub.asked("rescue")) == count


async def test_the_reaper_repeats_while_there_is_more(hub: EngineBench) -> None:
    more = Outcome({"rescued": 100, "more": True}, feed_heads={1: 5})
    hub.answers["rescue"] = [more, more]
    await hub.advance(1)
    assert len(hub.asked("rescue")) == 3
    assert hub.published == [("feed", {"heads": {"1": 5}})] * 2
    assert wakes(hub) == 1


async def test_a_slow_reaper_is_never_there_twice(hub: EngineBench) -> None:
    release = hub.hold("rescue")
    for _ in range(5):
        await hub.advance(1)
    assert len(hub.asked("rescue")) == 1
    release()
    await settle()
    await hub.advance(1)
    assert len(hub.asked("rescue")) == 2


# -- engine_status


async def test_engine_status_is_told_once_for_many_changes(hub: EngineBench) -> None:
    ada = await hub.joined("ada")
    for _ in range(20):
        await decided(hub, engines_changed=True)
    assert ada.heard("engine_status") == []
    await hub.advance(0.25)
    assert len(ada.heard("engine_status")) == 1
    await hub.advance(5)
    assert len(ada.heard("engine_status")) == hub.status_asked == 1


@pytest.mark.parametrize(
    "effects",
    [
        {"assignable": True},
        {"deliveries": (Delivery("e_9", "n_far", "job_abort", ABORT),)},
    ],
)
async def test_how_busy_engines_are_is_told_once_a_second(
    hub: EngineBench, effects: dict[str, Any]
) -> None:
    ada = await hub.joined("ada")
    await decided(hub, **effects)
    await hub.advance(0.9)
    assert ada.heard("engine_status") == []
    await hub.advance(0.1)
    assert len(ada.heard("engine_status")) == 1


async def test_what_changes_nothing_about_engines_tells_nobody(hub: EngineBench) -> None:
    await decided(hub, feed_heads={1: 1})
    await hub.advance(2)
    assert hub.status_asked == 0


async def test_a_status_that_could_not_be_read_is_told_a_second_later(hub: EngineBench) -> None:
    ada = await hub.joined("ada")
    status, hub.status = hub.status, OperationalError("database is locked")
    await decided(hub, engines_changed=True)
    await hub.advance(0.25)
    assert (hub.status_asked, ada.heard("engine_status")) == (1, [])
    hub.status = status
    await hub.advance(1)
    assert ada.heard("engine_status") == [status]


# -- all of it, on the database


@pytest.mark.django_db
async def test_a_world_goes_from_the_person_to_the_engine_and_back(
    make_hub: Callable[..., EngineBench],
) -> None:
    hub = make_hub(stored=True)
    hub.add("owner", hub.on_database(Work().person))
    owner, engine = await hub.joined("owner"), await hub.proved()
    ready = {"capacity": 4, "job_types": ["BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY"]}
    await engine.say("engine_ready", ready)
    build = await owner.act("generate_world", {"spec": world_of(2)})
    done: set[str] = set()
    while jobs := [job for job in engine.opened("engine_job") if job["job_id"] not in done]:
        for job in jobs:
            done.add(job["job_id"])
            ids = {key: job[key] for key in ("job_id", "attempt_id")}
            await engine.say("job_started", ids)
            await engine.say("job_completed", {**ids, "result": {}})
    await settle()
    assert done == {job["job_id"] for job in build["jobs"]}
    assert [each["status"] for each in owner.heard("build_status")][-1] == "completed"
    assert [each["build_id"] for each in owner.heard("world_update")] == [build["build_id"]]
    numbers = [
        each["seq"]
        for event in ("build_status", "job_status", "world_update")
        for each in owner.heard(event)
        if "seq" in each
    ]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    await hub.advance(1)
    (status,) = owner.heard("engine_status")[-1:]
    assert [(each["name"], each["busy"]) for each in status["engines"]] == [("forge", 0)]


# -- the end of the process


async def test_a_process_that_stops_closes_its_engines_connections_and_says_so(
    hub: EngineBench,
) -> None:
    ada = await hub.joined("ada")
    hub.answers["process_stopped"] = Outcome(engines_changed=True)
    await hub.engines.stop()
    assert [each.args for each in hub.asked("process_stopped")] == [(hub.node.id,)]
    assert len(ada.heard("engine_status")) == 1


async def test_what_was_noted_but_not_told_yet_is_told_at_the_end(hub: EngineBench) -> None:
    ada = await hub.joined("ada")
    await decided(hub, engines_changed=True)
    await hub.engines.stop()
    assert len(ada.heard("engine_status")) == 1


async def test_a_process_whose_engines_are_gone_says_nothing(hub: EngineBench) -> None:
    await hub.engines.stop()
    assert hub.status_asked == 0


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: type(trouble).__name__)
async def test_a_process_stops_also_while_the_database_is_in_trouble(
    hub: EngineBench, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    hub.answers["process_stopped"] = trouble
    await hub.engines.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_process_that_stops_gives_out_no_more_jobs(hub: EngineBench) -> None:
    hub.node.draining = True
    await decided(hub, assignable=True)
    await settle()
    assert wakes(hub) == 0
