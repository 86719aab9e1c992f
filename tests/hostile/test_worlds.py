"""Hostile worlds over a real socket: each is refused, told, recorded, and makes no job."""

from collections import Counter

import pytest

from tests.hostile.cases_worlds import SPEC, WORLDS
from tests.hostile.raw import Member
from tests.hostile.stage import Stage

pytestmark = pytest.mark.xdist_group("hostile")

KEPT = ("engine_build", "engine_job", "engine_jobevent")


async def test_no_hostile_world_makes_a_job_and_each_is_refused_with_its_code(
    stage: Stage, bystander: Member
) -> None:
    before = stage.domain()
    ip = stage.address(Counter(each.error for each in WORLDS))
    async with stage.member(stage.person(), ip) as attacker:
        for each in WORLDS:
            answer = await attacker.act(attacker.sign("generate_world", each.text))
            assert (each.name, answer["error"]) == (each.name, each.error)
        due = [each.error for each in WORLDS if each.error.startswith("schema")]
        # An event of the feed may come after the answer to the action that caused it.
        await attacker.until(lambda _: len(attacker.heard("job_error")) >= len(due))
        assert [error["error"] for error in attacker.heard("job_error")] == due
        stage.assert_clean("".join(attacker.frames))
    assert stage.await_recorded(ip) == stage.expected[ip]
    after = stage.domain()
    assert {table: after[table] for table in KEPT} == {table: before[table] for table in KEPT}
    stage.calm = after  # a refused world is an event of its owner's feed


async def test_the_good_world_among_them_is_taken(stage: Stage, bystander: Member) -> None:
    async with stage.member(stage.person(), stage.address({})) as owner:
        answer = await owner.act(owner.sign("generate_world", {"spec": SPEC}))
        assert answer["ok"] is True
        cancel = owner.sign("build_cancel", {"build_id": answer["build_id"]})
        assert (await owner.act(cancel))["ok"] is True
    stage.calm = stage.domain()
