"""The AsyncAPI document says what a running hub takes and says: names, and the shapes of bodies."""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import jsonschema_rs
import pytest

from tests.end_to_end.engines import reference_engine
from tests.hostile.raw import Member
from tests.hostile.stage import Stage, staged
from tests.isolation.scenarios import SPEC

MANY = "1000000"
BUILT_S = 120.0
LASTS_S = 3
CHANNELS = {"/": "people", "/engine": "engines", "/agent": "agents"}
NO_JOB = {"job_id": "job_nowhere", "attempt_id": "att_nowhere"}

Heard = dict[str, dict[str, list[Any]]]
"""By channel and event: the bodies that were said."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(HUB_VIOLATION_BUDGET=MANY) as stage:
        yield stage


@pytest.fixture(scope="module")
def document(stage: Stage) -> dict[str, Any]:
    with urllib.request.urlopen(f"{stage.hub.url}/api/events/") as answer:  # noqa: S310 - our own hub
        document: dict[str, Any] = json.loads(answer.read())
        return document


def resolved(document: dict[str, Any], reference: dict[str, str]) -> dict[str, Any]:
    found: Any = document
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return resolved(document, found) if found.keys() == {"$ref"} else found


def operations(document: dict[str, Any], action: str, channel: str) -> dict[str, dict[str, Any]]:
    """By event: the message of each operation of a channel."""
    messages = (
        resolved(document, each["messages"][0])
        for each in document["operations"].values()
        if each["action"] == action and each["channel"]["$ref"] == f"#/channels/{channel}"
    )
    return {message["name"]: message for message in messages}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    for each in document["operations"].values():
        assert resolved(document, each["channel"])["address"] in CHANNELS
        for message in (*each["messages"], *each.get("reply", {}).get("messages", ())):
            assert "payload" in resolved(document, message)


def test_codes_are_those_of_the_tables(document: dict[str, Any]) -> None:
    assert document["x-refusals"]["replay_detected"]["points"] == 3
    assert document["x-close-codes"]["4410"]["meaning"] == "slow reader"


# -- what is taken


async def test_what_the_document_lets_clients_say_is_known_and_nothing_else_is(
    stage: Stage, document: dict[str, Any]
) -> None:
    for name, unknown in (
        ("person5", "unknown_type"),
        ("engine4", "ENGINE_PACKET_INCOMPLETE"),
        ("agent0", "ENGINE_PACKET_INCOMPLETE"),
    ):
        async with stage.member(stage.cast[name], stage.address({})) as member:
            channel = CHANNELS[member.namespace]
            for event in operations(document, "receive", channel):
                body = {} if channel == "people" else member.sign(event, {})
                answer = await member.report(event, body)
                # Whatever is wrong with an empty payload, the event is known.
                assert (event, answer.get("error")) != (event, unknown)
            answer = await member.report("made_up", member.sign("made_up", {}))
            assert answer["error"] == unknown


async def test_the_types_of_actions_are_those_that_the_hub_takes(
    stage: Stage, document: dict[str, Any]
) -> None:
    actions = document["channels"]["people"]["x-actions"]
    async with stage.member(stage.cast["person6"], stage.address({})) as member:
        for name, each in actions.items():
            answer = await member.act(member.sign(name, {"no": "such key"}))
            assert answer.get("error") != "unknown_type"
            large = member.sign(name, "x" * (each["x-max-bytes"] + 1))
            assert (await member.act(large))["error"] == "payload_too_large"
        assert "generate_world" in actions
        assert (await member.act(member.sign("made_up", {})))["error"] == "unknown_type"


# -- what is said


async def tour(stage: Stage) -> Heard:
    """Everything that the hub has to say, said once."""
    members: list[Member] = []
    async with AsyncExitStack() as stack:

        async def join(name: str, **claims: object) -> Member:
            who = {**stage.cast[name]}
            if claims:
                who["token"] = stage.token(who, **claims)
            member = stage.member(who, stage.address({}))
            members.append(await stack.enter_async_context(member))
            return member

        async def soon_over(name: str) -> Member:
            return await join(name, exp=int(time.time()) + LASTS_S)

        ada = await join("person1")
        await talk(stage, ada, await join("person2"), await join("agent0"))
        await build(stage, ada, await join("engine1"))
        for name in ("person3", "engine2", "agent0"):
            await (await soon_over(name)).closed()
    return heard_by(members)


async def talk(stage: Stage, ada: Member, grace: Member, agent: Member) -> None:
    """People, what they do, and an agent that hears and answers."""
    for member in (ada, grace):
        await member.call("heartbeat", {})
    await ada.send('42["action",{}]')
    assert (await agent.report("agent_heartbeat", agent.sign("agent_heartbeat", {})))["ok"]
    assert (await grace.act(grace.sign("speak", {"text": "hello"})))["ok"]
    await agent.until(lambda frame: '["action_update"' in frame)
    hint = {"user_id": ada.session["user_id"], "message": "Well done.", "reason": "praise"}
    assert (await agent.report("agent_update", agent.sign("agent_update", hint)))["ok"]
    for event in ("action_error", "security_notice", "action_update", "agent_update"):
        await ada.until(lambda frame, event=event: f'["{event}"' in frame)  # type: ignore[misc]  # a default
    await ada.until(lambda frame: '["presence_diff"' in frame)
    for event in (*agent_events(), "Made-Up"):
        await agent.report(event, {})


def agent_events() -> tuple[str, ...]:
    return ("agent_heartbeat", "agent_update", "reauth")


async def build(stage: Stage, ada: Member, engine: Member) -> None:
    """A build that is cancelled, one that is finished, one that is refused, and the snapshot."""
    ready = {"capacity": 1, "job_types": ["BUILD_SCENE"], "version": "1"}
    for event in ENGINE_EVENTS:
        await engine.report(event, {})
    await engine.report("engine_heartbeat", engine.sign("engine_heartbeat", {"attempts": []}))
    assert (await engine.report("engine_ready", engine.sign("engine_ready", ready)))["ok"]
    await ada.act(ada.sign("generate_world", {"spec": {}}))
    begun = await ada.act(ada.sign("generate_world", {"spec": SPEC}))
    assert begun["ok"] is True, begun
    await engine.until(lambda frame: '["engine_job"' in frame)
    assert (await ada.act(ada.sign("build_cancel", {"build_id": begun["build_id"]})))["ok"]
    await engine.until(lambda frame: '["job_abort"' in frame)
    draining = engine.sign("engine_draining", {})
    assert (await engine.report("engine_draining", draining))["ok"]
    with reference_engine(stage.hub):
        assert (await ada.act(ada.sign("generate_world", {"spec": SPEC})))["ok"]
        await ada.until(lambda frame: '["world_update"' in frame)
    await again(ada)


async def again(ada: Member) -> None:
    """Somebody whose place in the feed is unknown gets a snapshot."""
    async with Returning(ada.uri.replace("ws", "http", 1), ada.who) as returned:
        await returned.until(lambda frame: '["feed_snapshot"' in frame)
        ada.frames += returned.frames[1:]


class Returning(Member):
    """Asks for what it missed of another epoch."""

    async def join(self, auth: str = "", namespace: str = "/") -> dict[str, Any]:
        place = {"epoch": "another", "after": 3}
        return await super().join(json.dumps({**json.loads(auth), "feed": place}), namespace)


ENGINE_EVENTS = (
    *("engine_ready", "engine_heartbeat", "engine_resume", "engine_draining", "engine_error"),
    *("telemetry", "job_ack", "job_started", "job_progress", "job_completed", "job_failed"),
    *("job_status", "reauth", "Made-Up"),
)


def heard_by(members: list[Member]) -> Heard:
    found: Heard = {name: {} for name in CHANNELS.values()}
    for member in members:
        head = "42" if member.namespace == "/" else f"42{member.namespace},"
        for frame in member.frames:
            if frame.startswith(f'{head}["'):
                event, body = json.loads(frame[len(head) :])
                found[CHANNELS[member.namespace]].setdefault(event, []).append(body)
    return found


async def test_a_tour_hears_every_event_of_the_document_in_its_shape_and_no_other(
    stage: Stage, document: dict[str, Any]
) -> None:
    heard = await tour(stage)
    for channel, said in heard.items():
        messages = operations(document, "send", channel)
        assert sorted(said) == sorted(messages)
        for event, bodies in said.items():
            for body in bodies:
                assert_fits(messages[event], body)


def assert_fits(message: dict[str, Any], body: Any) -> None:
    faults = [str(each) for each in jsonschema_rs.iter_errors(message["payload"], body)]
    if "x-payload" in message:
        inner = json.loads(body["payload"])
        faults += [str(each) for each in jsonschema_rs.iter_errors(message["x-payload"], inner)]
    assert faults == [], (message["name"], body)
