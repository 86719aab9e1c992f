"""The signed actions about worlds and jobs: what a person may ask for, and what is said to it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from engine.models import Build, Job
from realtime.feed import POLL_S
from security.refusals import Refused
from tests.engine.conftest import Bench as Work
from tests.engine.engine_bench import EngineBench, world_of
from tests.realtime.guarded import Peer, settle


@pytest.fixture
async def desk(make_hub: Callable[..., EngineBench], db: None) -> "Desk":
    """Two people and a staff member before a hub on the test's database."""
    return Desk(make_hub(stored=True))


class Desk:
    """A hub on the database and the people before it."""

    def __init__(self, hub: EngineBench) -> None:
        self.hub = hub
        self.ids: dict[str, int] = {}
        for name in ("ada", "grace", "admin"):
            self.ids[name] = hub.on_database(Work().person, name)
            hub.add(name, self.ids[name], role="staff" if name == "admin" else "user")

    async def person(self, name: str = "ada") -> Peer:
        return await self.hub.joined(name)

    async def built(self, peer: Peer) -> dict[str, Any]:
        answer = await peer.act("generate_world", {"spec": world_of(2)})
        assert answer["ok"] is True
        return answer

    def feed(self, name: str = "ada", event: str = "") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.hub.on_database(Work().events, self.ids[name], event)
        return rows

    def count(self, model: Any = Build) -> int:
        counted: int = self.hub.on_database(model.objects.count)
        return counted

    def states(self) -> set[str]:
        states: set[str] = self.hub.on_database(
            lambda: set(Job.objects.values_list("state", flat=True))
        )
        return states

    def fail_first_job(self) -> None:
        """As if an engine had given up on it for good."""
        work = Work()
        work.engine()
        (job, *_) = work.assign()
        work.start(job)
        work.fail(job)


# -- generate_world


async def test_a_world_becomes_a_build_with_its_jobs(desk: Desk) -> None:
    ada = await desk.person()
    answer = await desk.built(ada)
    assert [(job["job_type"], job["stage"]) for job in answer["jobs"]] == [
        ("BUILD_SCENE", 0),
        ("LOAD_ASSETS", 1),
        ("SPAWN_ENTITY", 2),
        ("SPAWN_ENTITY", 2),
    ]
    assert (desk.count(), desk.count(Job)) == (1, 4)
    (action, facts) = desk.hub.audited[-1]
    assert (action, facts["principal"]) == ("generate_world", f"user:{desk.ids['ada']}")
    await settle()
    assert ada.heard("build_status")[0]["build_id"] == answer["build_id"]


@pytest.mark.parametrize("key", ["jobs", "job_id", "status", "build_id", "user_id", "spec ", ""])
async def test_the_hub_makes_jobs_ids_and_states_itself(desk: Desk, key: str) -> None:
    ada = await desk.person()
    answer = await ada.act("generate_world", {"spec": world_of(), key: "x"})
    assert (answer["error"], answer["path"]) == ("schema_validation_failed", "$")
    assert desk.hub.kinds() == ["schema_validation_failed"]
    assert repr(key) in desk.hub.incidents[0].detail["finding"]
    await settle()
    (row,) = desk.feed("ada", "job_error")
    assert (row["error"], row["path"]) == ("schema_validation_failed", "$")
    assert row["message"] == f"unknown keys are refused: {key!r}"
    assert (desk.count(), desk.count(Job)) == (0, 0)


@pytest.mark.parametrize("key", ["jobs", "job_id", "status"])
async def test_nor_do_they_hide_in_the_specification(desk: Desk, key: str) -> None:
    ada = await desk.person()
    answer = await ada.act("generate_world", {"spec": world_of(**{key: []})})
    assert (answer["error"], answer["path"]) == ("schema_validation_failed", "$")
    assert desk.count() == 0


@pytest.mark.parametrize("payload", [None, [], "x", 5, {}, {"request_id": "r1"}])
async def test_a_payload_without_a_specification_is_refused(desk: Desk, payload: object) -> None:
    ada = await desk.person()
    answer = await ada.act("generate_world", payload if payload != "x" else '"x"')
    assert answer["error"] == "schema_validation_failed"
    await settle()
    (row,) = desk.feed("ada", "job_error")
    assert (row["message"], row["path"]) == (answer["message"], "$")
    asked = payload.get("request_id") if isinstance(payload, dict) else None
    assert row.get("request_id") == asked
    assert desk.count() == 0


async def test_a_bad_world_is_answered_with_its_faults_and_kept_once(desk: Desk) -> None:
    ada, grace = await desk.person("ada"), await desk.person("grace")
    spec = copy.deepcopy(world_of(2))
    spec["entities"][1]["transform"]["scale"] = [1, 0, 1]
    spec["world"]["gravity"] = "down"
    answer = await ada.act("generate_world", {"spec": spec, "request_id": "r-1"})
    await settle()
    paths = [each["path"] for each in answer["findings"]]
    assert sorted(paths) == ["$.entities[1].transform.scale[1]", "$.world.gravity"]
    assert answer["error"] == "schema_validation_failed"
    assert (answer["path"], answer["message"]) == (
        paths[0],
        answer["findings"][0]["message"],
    )
    (row,) = desk.feed("ada", "job_error")
    assert (row["error"], row["path"]) == ("schema_validation_failed", paths[0])
    assert row["request_id"] == "r-1"
    assert [each["seq"] for each in ada.heard("job_error")] == [1]
    assert (desk.feed("grace"), grace.heard("job_error")) == ([], [])
    assert (desk.count(), desk.count(Job)) == (0, 0)
    assert desk.hub.kinds() == ["schema_validation_failed"]


async def test_at_most_twenty_faults_are_told(desk: Desk) -> None:
    ada = await desk.person()
    spec = copy.deepcopy(world_of(40))
    for entity in spec["entities"]:
        entity["type"] = "nothing"
    answer = await ada.act("generate_world", {"spec": spec})
    assert len(answer["findings"]) == 20
    assert len(desk.feed("ada", "job_error")) == 1


async def test_the_same_request_gives_the_first_build(desk: Desk) -> None:
    ada = await desk.person()
    request = {"spec": world_of(), "request_id": "r-1"}
    first, again = (
        await ada.act("generate_world", request),
        await ada.act("generate_world", request),
    )
    assert (again["build_id"], again["jobs"]) == (first["build_id"], first["jobs"])
    other = await ada.act("generate_world", {**request, "spec": world_of(2)})
    assert other["error"] == "conflict"
    assert desk.count() == 1
    grace = await desk.person("grace")
    assert (await grace.act("generate_world", request))["build_id"] != first["build_id"]


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 65, "é", 5, True, ["r"], "r\n"])
async def test_a_request_id_is_a_short_ascii_word(desk: Desk, request_id: object) -> None:
    ada = await desk.person()
    answer = await ada.act("generate_world", {"spec": world_of(), "request_id": request_id})
    assert answer["error"] == "payload_invalid"
    assert desk.count() == 0


async def test_high_priority_is_for_staff(desk: Desk) -> None:
    ada, admin = await desk.person("ada"), await desk.person("admin")
    request = {"spec": world_of(), "priority": "high"}
    assert (await ada.act("generate_world", request))["error"] == "forbidden"
    assert desk.hub.kinds() == ["forbidden"]
    assert desk.count() == 0
    assert (await admin.act("generate_world", request))["ok"] is True
    assert (await ada.act("generate_world", {**request, "priority": "low"}))["ok"] is True


@pytest.mark.parametrize(
    "priority", ["urgent", "", "HIGH", "Low", " low", "low\n", "h\u0131gh", None, 1, True, ["low"]]
)
async def test_there_are_three_priorities(desk: Desk, priority: object) -> None:
    admin = await desk.person("admin")
    answer = await admin.act("generate_world", {"spec": world_of(), "priority": priority})
    assert answer["error"] == "payload_invalid"
    assert desk.count() == 0


async def test_a_world_that_is_too_large_is_not_even_verified(desk: Desk) -> None:
    ada = await desk.person()
    answer = await ada.act("generate_world", {"spec": "x" * (512 * 1024)})
    assert answer["error"] == "payload_too_large"
    assert desk.feed() == []


@pytest.mark.parametrize(
    "spec",
    [[0] * 70_000, "[" * 40 + "]" * 40, {"world": "x" * 9_000}],
    ids=["many", "deep", "long"],
)
async def test_a_world_that_is_too_complex_is_not_looked_at(desk: Desk, spec: object) -> None:
    ada = await desk.person()
    nested = isinstance(spec, str)
    answer = await ada.act("generate_world", f'{{"spec":{spec}}}' if nested else {"spec": spec})
    assert answer["error"] == "payload_too_complex"
    assert (desk.count(), desk.feed()) == (0, [])


async def test_builds_in_flight_are_bounded(desk: Desk) -> None:
    ada = await desk.person()
    for _ in range(4):
        await desk.built(ada)
    assert (await ada.act("generate_world", {"spec": world_of()}))["error"] == "quota_exceeded"
    assert desk.count() == 4


async def test_a_database_in_trouble_is_no_fault_of_the_person(hub: EngineBench) -> None:
    ada = await hub.joined("ada")
    hub.answers |= dict.fromkeys(("submit", "refuse"), OperationalError("database is locked"))
    assert (await ada.act("generate_world", {"spec": world_of()}))["error"] == "try_again"
    assert (await ada.act("generate_world", {"spec": {}}))["error"] == "try_again"
    assert hub.kinds() == ["try_again", "try_again"]


async def test_an_action_of_worlds_is_signed_like_any_other(desk: Desk) -> None:
    ada = await desk.person()
    envelope = ada.sign("generate_world", {"spec": world_of()})
    forged = {**envelope, "payload": envelope["payload"].replace("quay", "reef")}
    assert (await ada.call("action", forged))["error"] == "invalid_signature"
    assert (await ada.call("action", envelope))["ok"] is True
    assert (await ada.call("action", envelope))["error"] == "replay_detected"
    assert desk.count() == 1


# -- build_cancel, job_cancel, job_retry


KEYS = {"build_cancel": "build_id", "job_cancel": "job_id", "job_retry": "job_id"}


@pytest.mark.parametrize("action", KEYS)
async def test_an_action_about_an_object_names_it_and_nothing_else(
    hub: EngineBench, action: str
) -> None:
    ada = await hub.joined("ada")
    key, other = KEYS[action], "job_id" if action == "build_cancel" else "build_id"
    payloads: list[object] = [
        *(None, [], 5, {}, '"b_1"', {other: "x"}, {key: "x", other: "x"}),
        *({key: value} for value in (None, 1, True, ["x"], {"id": "x"})),
        {key: "x", "user_id": "2"},
    ]
    for payload in payloads:
        assert (await ada.act(action, payload))["error"] == "payload_invalid"
    assert hub.kinds() == ["payload_invalid"] * len(payloads)
    assert hub.names() == []


@pytest.mark.parametrize("action", KEYS)
async def test_what_is_anothers_is_as_unknown_as_what_is_not(desk: Desk, action: str) -> None:
    ada, grace = await desk.person("ada"), await desk.person("grace")
    build = await desk.built(ada)
    object_id = {"build_id": build["build_id"], "job_id": build["jobs"][0]["job_id"]}[KEYS[action]]
    theirs = await grace.act(action, {KEYS[action]: object_id})
    nobodys = await grace.act(action, {KEYS[action]: "b_none"})
    assert theirs == nobodys
    assert theirs["error"] == "not_found"
    assert desk.hub.kinds() == ["not_found", "not_found"]
    assert desk.states() == {"queued"}
    assert desk.feed("grace") == []


async def test_the_owner_cancels_a_build(desk: Desk) -> None:
    ada = await desk.person()
    build = await desk.built(ada)
    answer = await ada.act("build_cancel", {"build_id": build["build_id"]})
    assert (answer["build_id"], answer["status"]) == (build["build_id"], "failed")
    assert desk.states() == {"failed"}
    await settle()
    assert ada.heard("build_status")[-1]["status"] == "failed"


async def test_cancelling_a_job_fails_its_build(desk: Desk) -> None:
    ada = await desk.person()
    build = await desk.built(ada)
    answer = await ada.act("job_cancel", {"job_id": build["jobs"][1]["job_id"]})
    assert (answer["job_id"], answer["status"]) == (build["jobs"][1]["job_id"], "failed")
    again = await ada.act("job_cancel", {"job_id": build["jobs"][1]["job_id"]})
    assert again["error"] == "conflict"
    assert desk.states() == {"failed"}


async def test_staff_may_cancel_anybodys_build_and_its_owner_is_told(desk: Desk) -> None:
    ada, admin = await desk.person("ada"), await desk.person("admin")
    build = await desk.built(ada)
    assert (await admin.act("build_cancel", {"build_id": build["build_id"]}))["ok"] is True
    await settle()
    assert ada.heard("build_status")[-1]["status"] == "failed"
    assert admin.heard("build_status") == []


async def test_a_failed_build_is_opened_again_with_new_jobs(desk: Desk) -> None:
    ada = await desk.person()
    build = await desk.built(ada)
    desk.hub.on_database(desk.fail_first_job)
    failed = build["jobs"][0]["job_id"]
    again = await ada.act("job_retry", {"job_id": failed})
    assert again["build_id"] == build["build_id"]
    assert {job["job_id"] for job in again["jobs"]}.isdisjoint(
        job["job_id"] for job in build["jobs"]
    )
    assert len(again["jobs"]) == 4
    assert (await ada.act("job_retry", {"job_id": failed}))["error"] == "conflict"
    await desk.hub.advance(POLL_S)
    told = [each["status"] for each in ada.heard("build_status")]
    assert told[told.index("failed") + 1] == "queued"


async def test_what_the_dispatcher_refuses_is_told_with_its_code(hub: EngineBench) -> None:
    ada = await hub.joined("ada")
    hub.answers["cancel_build"] = Refused("conflict", reason="ended")
    assert (await ada.act("build_cancel", {"build_id": "b_1"}))["error"] == "conflict"
    assert hub.kinds() == ["conflict"]
    assert [action for action, _ in hub.audited] == ["socket_connected"]


@pytest.fixture
async def slow_desk(make_hub: Callable[..., EngineBench], db: None) -> "Desk":
    """A hub that makes twelve jobs at once, and then one a second."""
    return Desk(make_hub(stored=True, jobs_per_s=1.0, job_burst=12))


async def test_cancelling_and_trying_again_is_no_way_round_the_quotas(slow_desk: "Desk") -> None:
    peer = await slow_desk.person()
    answer = await slow_desk.built(peer)
    for _ in range(3):
        await peer.act("build_cancel", {"build_id": answer["build_id"]})
        last, answer = answer, await peer.act("job_retry", {"job_id": answer["jobs"][0]["job_id"]})
        if not answer["ok"]:
            break
    jobs = slow_desk.count(Job)
    assert (answer["error"], jobs) == ("rate_limited", 12)
    assert slow_desk.hub.kinds() == ["rate_limited"]
    await slow_desk.hub.advance(answer["retry_after_ms"] / 1000)
    again = await peer.act("job_retry", {"job_id": last["jobs"][0]["job_id"]})
    assert (again["ok"], slow_desk.count(Job)) == (True, jobs + 4)


async def test_worlds_that_are_refused_again_and_again_fill_no_feed(slow_desk: "Desk") -> None:
    peer = await slow_desk.person()
    for _ in range(3):
        answer = await peer.act("generate_world", {"spec": {}})
    assert answer["error"] == "rate_limited"
    assert len(slow_desk.feed(event="job_error")) == 1
    other = await slow_desk.person("grace")
    assert (await slow_desk.built(other))["ok"] is True
