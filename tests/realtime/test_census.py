"""Who is connected: what one process tells, what all tell together, and how one is ended."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from realtime import census as module
from realtime.census import Census, Connection, current
from realtime.inquiries import Inquiries
from realtime.processes import Look
from tests.realtime.agents.agent_bench import AgentBench
from tests.realtime.guarded import settle


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentBench]:
    made = AgentBench(monkeypatch)
    yield made
    await made.node.stop()


@pytest.fixture
async def census(bench: AgentBench) -> AsyncIterator[Census]:
    made = Census(bench.guard, bench.hub.attendance, bench.inquiries, degraded=lambda: False)
    made.bind(bench.node)
    yield made
    await made.stop()


async def names(census: Census, search: str = "", **options: Any) -> list[str]:
    return [each.name for each in (await census.connections(search, **options)).connections]


async def test_a_connection_is_who_where_since_when_and_how_much(
    bench: AgentBench, census: Census
) -> None:
    ada = await bench.joined("ada")
    await ada.act("room_join", {"room": "garden"})
    await bench.advance(8)
    await ada.call("heartbeat", {})
    await bench.advance(5)
    (found,) = (await census.connections()).connections
    now = bench.time.now_ms()
    assert (found.principal, found.name, found.ip) == ("user:1", "ada", "192.0.2.1")
    assert (found.namespaces, found.rooms) == (("/",), ("garden", "lobby"))
    assert (now - found.since_ms, now - found.heard_ms) == (13_000, 5_000)
    assert found.received == 3
    assert found.sent == len(ada.wires.frames)
    assert found.process == bench.node.id
    assert ada.session.id not in repr(found)


async def test_who_has_proved_nothing_is_listed_as_well(bench: AgentBench, census: Census) -> None:
    bench.peer()
    (found,) = (await census.connections()).connections
    assert (found.principal, found.name, found.namespaces) == ("", "", ())
    assert (found.ip, found.heard_ms) == ("192.0.2.1", 0)


async def test_an_agent_is_in_the_rooms_that_it_hears(bench: AgentBench, census: Census) -> None:
    await bench.listening()
    (found,) = (await census.connections()).connections
    assert (found.principal, found.namespaces) == ("agent:coach", ("/agent",))
    assert found.rooms == ("garden", "lobby")


async def test_the_newest_come_first_and_all_are_counted(bench: AgentBench, census: Census) -> None:
    for who in ("ada", "grace", "admin"):
        await bench.joined(who)
        await bench.advance(1)
    listing = await census.connections(limit=2)
    assert [each.name for each in listing.connections] == ["admin", "grace"]
    assert (listing.total, listing.processes, listing.silent) == (3, 1, 0)


@pytest.mark.parametrize(
    ("search", "found"),
    [("GRA", ["grace"]), ("user:1", ["ada"]), ("attic", ["ada"]), ("nobody", []), ("  ", None)],
)
async def test_a_search_looks_at_what_is_shown(
    bench: AgentBench, census: Census, search: str, found: list[str] | None
) -> None:
    await bench.in_room("ada", "attic")
    await bench.joined("grace")
    assert await names(census, search) == (["grace", "ada"] if found is None else found)
    total = (await census.connections(search, limit=0)).total
    assert total == (2 if found is None else len(found))


async def test_one_connection_is_ended_and_no_other(bench: AgentBench, census: Census) -> None:
    ada, grace = await bench.joined("ada"), await bench.joined("grace")
    (found,) = (await census.connections("ada")).connections
    assert await census.connection(found.process, found.key) == found
    assert await census.disconnect(found.process, found.key)
    assert (ada.wires.code, grace.wires.code) == (4401, None)
    assert ada.heard("goodbye")[0]["reason"] == "ended by staff"
    assert not await census.disconnect(found.process, found.key)
    assert await census.connection(found.process, found.key) is None


async def test_another_processs_connection_is_not_ours_to_end(
    bench: AgentBench, census: Census
) -> None:
    ada = await bench.joined("ada")
    (found,) = (await census.connections()).connections
    assert not await census.disconnect("n_another", found.key)
    assert not await census.disconnect(found.process, "0" * 24)
    assert ada.wires.code is None


async def test_frames_of_those_who_left_stay_counted(bench: AgentBench, census: Census) -> None:
    ada = await bench.joined("ada")
    (before,) = await census.summaries()
    ada.lose()
    await settle()
    (after,) = await census.summaries()
    assert (before["connections"], after["connections"]) == (1, 0)
    assert after["received"] == before["received"] == 1
    assert after["sent"] >= before["sent"] > 0


async def test_a_process_says_how_it_is(bench: AgentBench, census: Census) -> None:
    await bench.joined("ada")
    idle = await bench.joined("grace")
    await idle.act("presence", {"state": "idle"})
    await bench.joined("grace")
    await bench.listening()
    (said,) = await census.summaries()
    assert said["people"] == {"1": "active", "2": "active"}
    assert said["namespaces"] == {"/": 3, "/agent": 1}
    assert said["rooms"] == {"lobby": 3}
    assert (said["draining"], said["bus_healthy"], said["state_degraded"]) == (False, True, False)


class Answers(Inquiries):
    """Inquiries that other processes answer, too; ``asked`` is how many answers were enough."""

    def __init__(self, *others: Mapping[str, Any]) -> None:
        super().__init__()
        self.others = others
        self.asked: list[int | None] = []

    async def ask(self, question: str, body: Any, **options: Any) -> list[Mapping[str, Any]]:
        self.asked.append(options.get("enough"))
        return [*await super().ask(question, body, **options), *self.others]


def far(name: str, since_ms: int) -> dict[str, Any]:
    facts = dict.fromkeys(Connection.__dataclass_fields__, "")
    counts = dict.fromkeys(("heard_ms", "received", "sent"), 0)
    lists: dict[str, list[str]] = {"namespaces": ["/"], "rooms": ["lobby"]}
    return {**facts, **counts, **lists, "name": name, "since_ms": since_ms}


async def test_what_all_processes_tell_is_one_list(bench: AgentBench) -> None:
    await bench.joined("ada")
    now = bench.time.now_ms()
    others = [far("older", now - 1), far("newer", now + 1)]
    inquiries = Answers({"connections": others, "total": 700})
    inquiries.bind(bench.node)
    census = Census(bench.guard, bench.hub.attendance, inquiries, degraded=lambda: False)
    census.bind(bench.node)
    for living, enough, silent in [
        (frozenset({"n_far"}), 2, 0),
        (frozenset({"n_far", "n_dead"}), 3, 1),
        (None, None, 0),
    ]:
        census._look(Look(living, certain=True))
        listing = await census.connections()
        assert [each.name for each in listing.connections] == ["newer", "ada", "older"]
        assert (listing.total, listing.processes, listing.silent) == (701, 2, silent)
        assert inquiries.asked[-1] == enough
    await census.stop()


async def test_the_census_of_a_process_is_there_while_it_runs(
    bench: AgentBench, census: Census
) -> None:
    assert current() is census
    await census.stop()
    assert current() is None
    await census.stop()


async def test_another_loop_gets_its_answer_from_the_one_of_the_sockets(
    bench: AgentBench, census: Census
) -> None:
    await bench.joined("ada")

    def from_a_thread() -> int:
        asked = census.from_anywhere(lambda here: here.connections())
        return asyncio.run(asked).total

    assert await asyncio.to_thread(from_a_thread) == 1
    assert (await census.from_anywhere(lambda here: here.connections())).total == 1


def test_memory_is_told_where_the_system_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Path, "read_text", lambda *_: "1 2 3")
    assert module._memory() == 2 * module.os.sysconf("SC_PAGE_SIZE")

    def absent(*_args: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(module.Path, "read_text", absent)
    assert module._memory() is None
