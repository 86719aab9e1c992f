"""``manage.py demo`` as a process tree: it comes up, and leaves nothing behind when it ends."""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.client import HubClient
from tests.end_to_end.demo import Demo
from tests.end_to_end.forest import FOREST_JOBS, forest

pytestmark = pytest.mark.timeout(300)  # several processes start in it, on a busy machine slowly

ENGINE_DEADLINE_S = 30.0
HINT_DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def without_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo"), "--no-engine", "--no-traffic") as demo:
        yield demo


def answer_of(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
        return answer.status, answer.read()


def test_the_printed_addresses_answer(without_engine: Demo) -> None:
    status, page = answer_of(f"{without_engine.url}/")
    assert (status, b"Interaction Hub" in page) == (200, True)
    assert answer_of(without_engine.admin_url)[0] == 200
    assert json.loads(answer_of(f"{without_engine.url}/readyz")[1])["ok"]
    assert set(without_engine.logins) == {"ada", "grace", "admin"}


async def test_without_an_engine_jobs_wait_and_say_so(without_engine: Demo) -> None:
    async with HubClient(without_engine.url) as ada:
        await ada.sign_in("ada", without_engine.logins["ada"])
        await ada.connect()
        assert (await ada.next("engine_status"))["online"] is False
        await ada.act("generate_world", {"spec": forest()})
        told = await ada.next("build_status")
        assert (told["status"], told["total"], told["engine_online"]) == (
            "queued",
            FOREST_JOBS,
            False,
        )
        build = await ada.request("GET", f"/api/builds/{told['build_id']}/")
        assert {job["status"] for job in build["jobs"]} == {"queued"}
        assert await nobody_else_is_about(ada)


async def nobody_else_is_about(client: HubClient) -> bool:
    return [member["username"] for member in await client.next("presence_state")] == ["ada"]


async def test_a_hasty_person_is_given_a_hint(without_engine: Demo) -> None:
    async with HubClient(without_engine.url) as ada:
        await ada.sign_in("ada", without_engine.logins["ada"])
        await ada.connect()
        async with asyncio.timeout(HINT_DEADLINE_S):
            while True:
                await ada.act("click", {"target": "door"})
                with contextlib.suppress(TimeoutError):
                    hint = await ada.next("agent_update", within_s=0.05)
                    break
    assert (hint["agent"], hint["reason"]) == ("coach", "rapid_clicking")


async def test_ctrl_c_ends_the_whole_tree_and_the_next_start_goes_on(tmp_path: Path) -> None:
    with Demo(tmp_path) as first:
        async with HubClient(first.url) as ada:
            await ada.sign_in("ada", first.logins["ada"])
            session = await ada.connect()
            while not (await ada.next("engine_status", within_s=ENGINE_DEADLINE_S))["online"]:
                pass
            build = await ada.act("generate_world", {"spec": forest()})
            await ada.next("job_status")  # it is under way
        assert len(first.processes) == 2  # the hub and its engine
        code = first.interrupt()
    assert code == 0, first.output
    assert first.processes == []
    assert "Traceback" not in first.output

    epoch, head = session["feed"]["epoch"], session["feed"]["head"]
    with Demo(tmp_path) as second:
        assert second.logins == first.logins
        async with HubClient(second.url) as ada:
            await ada.sign_in("ada", second.logins["ada"])
            await ada.connect(feed={"epoch": epoch, "after": head})
            world = await ada.next("world_update", within_s=ENGINE_DEADLINE_S)
            assert world["build_id"] == build["build_id"]
        code = second.interrupt()
    assert (code, second.processes) == (0, [])
