"""The stages: one hub with limits that let a test send many messages, and a bystander."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.hostile.cases_connect import FRIEND
from tests.hostile.raw import Member
from tests.hostile.stage import Stage, staged

MANY = "1000000"


@pytest.fixture(scope="package")
def stage() -> Iterator[Stage]:
    """A hub whose rates and budgets do not get in the way of hundreds of refusals."""
    with staged(
        HUB_VIOLATION_BUDGET=MANY,
        HUB_ALLOWED_ORIGINS=FRIEND,
        HUB_MESSAGES_PER_S=MANY,
        HUB_MESSAGE_BURST=MANY,
        HUB_BYTES_PER_S="100000000",
        HUB_BYTE_BURST="100000000",
    ) as stage:
        yield stage


@pytest.fixture
async def bystander(stage: Stage) -> AsyncIterator[Member]:
    """Somebody who has nothing to do with it: served all along, and told of nothing."""
    ip = stage.address({})
    async with stage.member(stage.cast["person0"], ip) as member:
        yield member
        assert (await member.act(member.sign("emote", {"mood": "calm"})))["ok"] is True
        assert (await member.call("heartbeat", {}))["ok"] is True
        assert member.code is None
        assert member.heard("action_update") == []
        assert member.heard("security_notice") == []
        shown = [
            each["state"]
            for diff in member.heard("presence_diff")
            for each in (*diff["joins"], *diff["leaves"], *diff["changes"])
            if each["user_id"] == member.session["user_id"]
        ]
        assert set(shown) <= {"active"}
        stage.assert_clean(json.dumps(member.frames))
