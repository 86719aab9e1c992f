"""What must stay with the socket, or the database, that fails: each scenario returns its gaps.

Every one has a bystander who acts and beats all along, and whose longest wait is a verdict, too.
"""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
)
from typing import Any, Final

from tests.flood.watch import Bystander, Memory
from tests.hostile.raw import Member
from tests.hostile.stage import PEOPLE, Stage
from tests.isolation.peers import Deaf
from tests.services import PostgresServer

__all__ = ["database_hangs", "deaf_sockets", "failing_handlers", "locked", "served", "stopped"]

LONGEST_WAIT_S: Final = 15.0  # of a machine that is busy with other things as well
LARGE: Final = {"text": "x" * 7_000}
GROWS_MIB: Final = 192.0  # a hundred outboxes of a MiB, and room for what the allocator keeps
AFTER_IT_S: Final = 60.0
SPEC: Final = {
    "schema_version": "1.0",
    "world": {"id": "world_a", "name": "A", "gravity": [0, -9.81, 0]},
    "scene": {"id": "scene_a", "ambientLight": [0.5, 0.5, 0.5], "skybox": "dusk"},
    "entities": [
        {
            "id": "box_1",
            "type": "object",
            "transform": {"position": [0, 0, 0], "rotation": [0, 0, 0], "scale": [1, 1, 1]},
            "material": {"shader": "standard", "texture": "wood", "color": [1, 1, 1]},
            "components": {"mesh": "box", "collider": "box"},
        }
    ],
}


@asynccontextmanager
async def served(stage: Stage, gaps: list[str]) -> AsyncIterator[Bystander]:
    """Somebody is served while the block runs; where not, that is a gap."""
    async with stage.member(stage.cast["person0"], stage.address({})) as member:
        await _greeted(member)
        bystander = Bystander(member)
        living = asyncio.ensure_future(bystander.live())
        yield bystander
        if living.done():
            gaps.append(f"the bystander was let down: {living.exception()!r}")
        living.cancel()
        await asyncio.wait([living])
        facts = bystander.facts()
        if facts["max_ms"] > LONGEST_WAIT_S * 1000:
            gaps.append(f"the bystander had to wait: {facts}")


async def _greeted(member: Member) -> None:
    """Wait for the last of what a newcomer is told, which comes out of the database."""
    await member.until(lambda frame: frame.startswith('42["engine_status"'))


# Sockets that never read.


async def deaf_sockets(stage: Stage, *, count: int, pid: int) -> dict[str, Any]:
    """So many sockets that never read, while somebody fills their rooms with words."""
    gaps: list[str] = []
    ips = [stage.address({"slow_consumer": 1}) for _ in range(count)]
    cast = [stage.cast[f"person{2 + number % (PEOPLE - 2)}"] for number in range(count)]
    memory = Memory(pid)
    async with AsyncExitStack() as stack:
        bystander = await stack.enter_async_context(served(stage, gaps))
        speaker = await stack.enter_async_context(
            stage.member(stage.cast["person1"], stage.address({}))
        )
        deaf = [Deaf(stage.hub.url, who, ip=ip) for who, ip in zip(cast, ips, strict=True)]
        for each in deaf:
            await each.join()
        watching = asyncio.ensure_future(memory.look())
        spoken = await _speak_until_recorded(stage, speaker, ips)
        last = [await each.ended() for each in deaf]
        watching.cancel()
    facts = memory.facts()
    unrecorded = [ip for ip in ips if stage.await_recorded(ip) != stage.expected[ip]]
    if unrecorded:
        gaps.append(f"{len(unrecorded)} of {count} are not on record as slow")
    if facts["most_mib"] - facts["first_mib"] > GROWS_MIB:
        gaps.append(f"the hub grew: {facts}")
    told = sum(b"4410" in each or b"\x11\x3a" in each for each in last)  # 0x113a is 4410
    return {
        "sockets": count, "spoken": spoken, "told_4410": told, "memory": facts,
        "bystander": bystander.facts(), "gaps": gaps,
    }  # fmt: skip


async def _speak_until_recorded(stage: Stage, speaker: Member, ips: list[str]) -> int:
    """Fill the lobby with words until every outbox has overflowed; returns how many it took."""
    spoken = 0
    async with asyncio.timeout(AFTER_IT_S * 4):
        while True:
            for _ in range(50):
                assert (await speaker.act(speaker.sign("speak", LARGE)))["ok"] is True
            spoken += 50
            speaker.frames.clear()
            if all([await asyncio.to_thread(stage.recorded, ip) for ip in ips]):
                return spoken


# Handlers that fail.


async def failing_handlers(stage: Stage) -> dict[str, Any]:
    """A handler raises, one never answers, and eight hold every thread of the database."""
    gaps: list[str] = []
    async with AsyncExitStack() as stack:
        bystander = await stack.enter_async_context(served(stage, gaps))
        gaps += await _raising(stage)
        gaps += await _stalling(stage)
        gaps += await _holding(stage)
    return {"bystander": bystander.facts(), "gaps": gaps}


async def _raising(stage: Stage) -> list[str]:
    ip = stage.address({"internal_error": 1})
    async with stage.member(stage.person(), ip) as client:
        await client.send(f"420{json.dumps(['action', client.sign('explode')])}")
        code = await client.closed()
    said = "".join(client.frames)
    return [
        *([] if code == 1011 else [f"a raising handler's socket closed with {code}"]),
        *(["its fault was told to the client"] if "ZeroDivision" in said else []),
        *([] if stage.await_recorded(ip) == stage.expected[ip] else ["it is not on record"]),
    ]


async def _stalling(stage: Stage) -> list[str]:
    """Its own messages wait behind it; its pongs do not, and it can leave."""
    async with stage.member(stage.person(), stage.address({})) as client:
        await client.send(f"420{json.dumps(['action', client.sign('stall')])}")
        pinged = sum(frame == "2" for frame in client.frames)
        await client.until(lambda _frame: client.frames.count("2") >= pinged + 3)
        lived = client.code is None
    return [] if lived else ["a stalled handler kept pongs from being heard"]


async def _holding(stage: Stage) -> list[str]:
    """All threads of the database are taken for a while: everybody else only waits that long."""
    async with AsyncExitStack() as stack:
        holders = [
            await stack.enter_async_context(stage.member(stage.person(), stage.address({})))
            for _ in range(8)
        ]
        answers = [each.act(each.sign("stall_in_database")) for each in holders]
        newcomer = stage.member(stage.person(), stage.address({}))
        answered, _ = await asyncio.gather(
            asyncio.gather(*answers), stack.enter_async_context(newcomer)
        )
    refused = [answer for answer in answered if answer["ok"] is not True]
    return [f"{len(refused)} handlers with slow queries were refused"] if refused else []


# A database that hangs.


@contextmanager
def locked(stage: Stage) -> Iterator[None]:
    """Another process, as it were, holds SQLite's one write lock."""
    release, held = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(stage.hub.data_dir / "hub.sqlite3", timeout=20)) as database:
            database.isolation_level = None
            database.execute("BEGIN IMMEDIATE")
            held.set()
            release.wait()
            database.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(AFTER_IT_S)
    try:
        yield
    finally:
        release.set()
        holder.join()


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    """PostgreSQL gets no time: its connections stay open, and nothing answers."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


async def database_hangs(
    stage: Stage, hang: AbstractContextManager[None], *, seconds: float
) -> dict[str, Any]:
    """While the database hangs people are told to try again; then all is as before."""
    gaps: list[str] = []
    async with AsyncExitStack() as stack:
        bystander = await stack.enter_async_context(served(stage, gaps))
        owner = await stack.enter_async_context(stage.member(stage.person(), stage.address({})))
        await _greeted(owner)
        with hang:
            began = time.monotonic()
            pinged = owner.frames.count("2")
            answer = await owner.act(owner.sign("generate_world", {"spec": SPEC}))
            if answer.get("error") != "try_again":
                gaps.append(f"a world that could not be kept was answered with {answer}")
            forged = {**owner.sign("click"), "sig": "0" * 64}
            refused = await owner.act(forged)
            if refused.get("error") != "invalid_signature":
                gaps.append(f"a forged action was answered with {refused}")
            await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
            if owner.frames.count("2") <= pinged or owner.code is not None:
                gaps.append("pings and pongs stopped")
            hung_s = time.monotonic() - began
        back = await _until_taken(owner)
        if back is None:
            gaps.append("no world is taken after the database is back")
        elif not await _refusal_is_on_record(stage):
            gaps.append("a refusal of the meantime is not on record")
    facts = {"hung_s": round(hung_s, 1), "back_after_s": back, "bystander": bystander.facts()}
    return {**facts, "gaps": gaps}


async def _until_taken(owner: Member) -> float | None:
    """How long after the end of it a world is taken again, in seconds."""
    began = time.monotonic()
    while time.monotonic() - began < AFTER_IT_S:
        answer = await owner.act(owner.sign("generate_world", {"spec": SPEC}))
        if answer["ok"] is True or answer.get("error") == "quota_exceeded":
            return round(time.monotonic() - began, 1)
        await asyncio.sleep(0.2)
    return None


async def _refusal_is_on_record(stage: Stage) -> bool:
    deadline = time.monotonic() + AFTER_IT_S
    while time.monotonic() < deadline:
        rows = await asyncio.to_thread(stage.hub.violations, kind="invalid_signature")
        if rows:
            return True
        await asyncio.sleep(0.2)
    return False
