"""Hostile agents over real sockets: forged, replayed, foreign and nonsensical words."""

import json
from typing import Any

import pytest

from tests.hostile.cases_agents import CONNECTS, CONTENTS, HINT, TRICKS, UNKNOWN_EVENTS
from tests.hostile.cases_connect import Connect
from tests.hostile.cases_engines import Trick
from tests.hostile.raw import Member
from tests.hostile.stage import Stage

pytestmark = pytest.mark.xdist_group("hostile")


def agent(stage: Stage, ip: str) -> Member:
    return stage.member(stage.agent(), ip)


def deaf_agent(stage: Stage, ip: str) -> Member:
    return stage.member(stage.cast["deaf"], ip)


async def beat(agent: Member) -> dict[str, Any]:
    return await agent.report("agent_heartbeat", agent.sign("agent_heartbeat", {}))


@pytest.mark.parametrize("trick", [*TRICKS, *CONTENTS], ids=lambda trick: trick.name)
async def test_a_hostile_message_is_refused_once_and_the_agent_goes_on(
    stage: Stage, bystander: Member, trick: Trick
) -> None:
    error = {"auth_bypass_attempt": "AUTH_INVALID"}.get(trick.error, trick.error)
    ip = stage.address({trick.error.lower(): 1})
    async with agent(stage, ip) as sender:
        answer = await sender.report(trick.event, trick.forge(stage, sender))
        assert (answer["ok"], answer["error"]) == (False, error)
        name = f"{trick.event}_rejected"
        await sender.until(lambda frame: f'["{name}"' in frame and error in frame)
        assert (await beat(sender))["ok"] is True
    assert bystander.heard("agent_update") == []
    stage.assert_clean("".join(sender.frames))


@pytest.mark.parametrize("case", CONNECTS, ids=lambda case: case.name)
async def test_nobody_is_what_their_token_does_not_say(stage: Stage, case: Connect) -> None:
    ip = stage.address({case.recorded: 1})
    async with stage.raw(ip) as client:
        refusal = await client.join(json.dumps(case.auth(stage, {})), case.namespace)
        assert refusal["code"] == case.code
        assert await client.closed() == 4401


async def test_a_message_works_once_over_all_connections(stage: Stage, bystander: Member) -> None:
    who, ip = stage.agent(), stage.address({"engine_nonce_replay": 2})
    async with stage.member(who, ip) as first, stage.member(who, ip) as second:
        sent = first.sign("agent_heartbeat", {})
        assert (await first.report("agent_heartbeat", sent))["ok"] is True
        same = second.sign("agent_heartbeat", {}, nonce=sent["nonce"])
        for each, envelope in ((first, sent), (second, same)):
            answer = await each.report("agent_heartbeat", envelope)
            assert answer["error"] == "ENGINE_NONCE_REPLAY"


async def test_a_persons_nonce_is_not_an_agents(stage: Stage, bystander: Member) -> None:
    person = stage.member(stage.person(), stage.address({}))
    async with agent(stage, stage.address({})) as sender, person:
        envelope = person.sign("presence", {"state": "active"})
        assert (await person.act(envelope))["ok"] is True
        same = sender.sign("agent_heartbeat", {}, nonce=envelope["nonce"])
        assert (await sender.report("agent_heartbeat", same))["ok"] is True


async def test_an_agent_speaks_to_nobody_outside_its_rooms(stage: Stage, bystander: Member) -> None:
    ip, user_id = stage.address({"person_not_here": 2}), bystander.session["user_id"]
    elsewhere = stage.member(stage.person(), stage.address({}))
    async with agent(stage, ip) as hears_lobby, elsewhere, deaf_agent(stage, ip) as deaf:
        assert (await elsewhere.act(elsewhere.sign("room_leave", {"room": "lobby"})))["ok"] is True
        to_somebody = {**HINT, "user_id": elsewhere.session["user_id"]}
        for sender, hint in ((hears_lobby, to_somebody), (deaf, {**HINT, "user_id": user_id})):
            answer = await sender.report("agent_update", sender.sign("agent_update", hint))
            assert answer["error"] == "PERSON_NOT_HERE"
        assert elsewhere.heard("agent_update") == []
    assert bystander.heard("agent_update") == []


async def test_an_agent_hears_no_room_but_its_own(stage: Stage, bystander: Member) -> None:
    speaker = stage.member(stage.person(), stage.address({}))
    async with deaf_agent(stage, stage.address({})) as deaf, speaker:
        assert (await beat(deaf))["ok"] is True
        assert (await speaker.act(speaker.sign("room_join", {"room": "attic"})))["ok"] is True
        assert (await speaker.act(speaker.sign("room_leave", {"room": "lobby"})))["ok"] is True
        assert (await speaker.act(speaker.sign("speak", {"text": "in private"})))["ok"] is True
        assert (await beat(deaf))["ok"] is True
        assert not any('"action_update"' in frame for frame in deaf.frames)


@pytest.mark.parametrize("event", UNKNOWN_EVENTS)
async def test_an_event_that_agents_do_not_have_is_incomplete(
    stage: Stage, bystander: Member, event: Any
) -> None:
    ip = stage.address({"engine_packet_incomplete": 1})
    async with agent(stage, ip) as sender:
        answer = await sender.report(event, sender.sign(str(event), {}))
        assert answer["error"] == "ENGINE_PACKET_INCOMPLETE"


async def test_the_books_are_right(stage: Stage) -> None:
    assert stage.differences() == {}
    assert stage.domain() == stage.calm
    stage.assert_clean(stage.hub.output)
