"""Engines and the hub that they work for: killed, stopped, cancelled, drained, paused, resumed."""

import asyncio
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from engine.sdk import Context, Engine, Job
from realtime.client import HubClient, HubRefused
from tests.chaos.worlds import plain_world
from tests.end_to_end.door import Door
from tests.live import CHECKOUT, MANAGE, PASSWORD, LiveHub
from tests.waiting import soon

pytestmark = pytest.mark.timeout(300)  # several processes start in it, on a busy machine slowly

SOON_S = 60.0
ENDS_WITHIN_S = 60.0
LOOKS_EVERY_S = 1.0
FEED = ("build_status", "job_status", "world_update", "job_error")
NAME = "smith"
HISTORY = "SELECT event FROM engine_jobevent WHERE job_id = ? ORDER BY id"
OPEN_ENGINES = "SELECT name FROM engine_enginesession WHERE closed_at IS NULL"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """A hub with ada, which stays up for the whole module."""
    with LiveHub(data_dir=tmp_path_factory.mktemp("hub")) as running:
        running.add_person("ada")
        yield running


@pytest.fixture(scope="module")
def secret(hub: LiveHub) -> str:
    """Of the one engine of these tests; each connection of it follows the one before."""
    return hub.add_service(NAME)


@asynccontextmanager
async def person(hub: LiveHub, name: str = "ada") -> AsyncIterator[HubClient]:
    """A person at a hub."""
    async with HubClient(hub.url) as client:
        await client.sign_in(name, PASSWORD)
        await client.connect()
        yield client


class Smith:
    """An engine whose jobs end when the test says so; it keeps what came of them."""

    def __init__(self, url: str, secret: str) -> None:
        self.engine = Engine(url, NAME, secret, capacity=1)
        self.begun: asyncio.Queue[Job] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.cancelled: list[str] = []
        self.running: asyncio.Task[None]
        for job_type in ("BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY"):
            self.engine.job(job_type)(self.work)

    async def work(self, job: Job, context: Context) -> dict[str, Any]:
        """Wait for the word, as a handler does that has much to do."""
        self.begun.put_nowait(job)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            if context.cancelled:
                self.cancelled.append(job.job_id)
            raise
        if job.finish:
            await context.upload_artifact(GLB)
        return {"done": job.job_type}

    def crash(self) -> None:
        """End without a word: as if the process had been killed."""
        self.running.cancel()

    async def next_job(self) -> Job:
        async with asyncio.timeout(SOON_S):
            return await self.begun.get()


DOCUMENT = b'{"asset":{"version":"2.0"}} '  # a multiple of four bytes
GLB = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(DOCUMENT), len(DOCUMENT), b"JSON") + DOCUMENT


@asynccontextmanager
async def smith(url: str, secret: str) -> AsyncIterator[Smith]:
    """A smith at work; it is stopped at the end."""
    made = Smith(url, secret)
    made.running = asyncio.create_task(made.engine.run())
    yield made
    made.go_on.set()
    made.engine.stop(now=True)
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(made.running, SOON_S)


def stored(hub: LiveHub, sql: str, *values: str) -> list[str]:
    """The first column of what the database holds, read beside the hub."""
    with closing(sqlite3.connect(hub.data_dir / "hub.sqlite3")) as database:
        return [row[0] for row in database.execute(sql, values)]


async def test_an_attempt_and_a_feed_outlive_a_hub_that_is_killed(
    hub: LiveHub, secret: str
) -> None:
    """The second hub is the first one's restart, waiting, so that no lease has to."""
    killed = LiveHub(data_dir=hub.data_dir)
    await asyncio.to_thread(killed.start)
    seen: list[dict[str, Any]] = []
    async with Door(killed.url) as door, smith(door.url, secret) as worker:
        async with person(killed) as ada:
            for event in FEED:
                ada.on(event, seen.append)
            epoch, began = ada.session["feed"]["epoch"], ada.session["feed"]["head"]
            build = await ada.act("generate_world", {"spec": plain_world(1)})
            job = await worker.next_job()
            door.lead_to(hub.url)
            await asyncio.to_thread(killed.kill)
            await soon(lambda: not ada.socket.connected, within_s=SOON_S)
        await soon(lambda: "resume" in stored(hub, HISTORY, job.job_id), within_s=SOON_S)
        worker.go_on.set()
        async with HubClient(hub.url) as ada:
            done = asyncio.Event()
            for event in FEED:
                ada.on(event, seen.append)
            ada.on("world_update", lambda world: (seen.append(world), done.set()))
            await ada.sign_in("ada", PASSWORD)
            after = max((each["seq"] for each in seen if "seq" in each), default=began)
            session = await ada.connect(feed={"epoch": epoch, "after": after})
            assert session["feed"]["recovered"]
            await asyncio.wait_for(done.wait(), SOON_S)
            shown = await ada.request("GET", f"/api/jobs/{job.job_id}/")
            world = await ada.request("GET", f"/api/builds/{build['build_id']}/artifact/")
    assert (shown["status"], shown["attempt"]) == ("completed", 1)
    assert world == GLB
    assert stored(hub, HISTORY, job.job_id) == ["dispatch", "ack", "start", "resume", "complete"]
    numbers = [each["seq"] for each in seen if "seq" in each]
    assert numbers == list(range(began + 1, numbers[-1] + 1))


async def test_no_engine_looks_connected_to_a_hub_that_was_stopped(
    hub: LiveHub, secret: str
) -> None:
    stopped = LiveHub(data_dir=hub.data_dir)
    await asyncio.to_thread(stopped.start)
    async with Door(stopped.url) as door, smith(door.url, secret):
        await soon(lambda: stored(hub, OPEN_ENGINES) == [NAME], within_s=SOON_S)
        assert await asyncio.to_thread(stopped.stop) == 0
        assert stored(hub, OPEN_ENGINES) == []


async def test_a_cancel_reaches_the_handler_and_a_retry_builds_the_world(
    hub: LiveHub, secret: str
) -> None:
    async with person(hub) as ada, smith(hub.url, secret) as worker:
        build = await ada.act("generate_world", {"spec": plain_world(1)})
        job = await worker.next_job()
        await ada.act("build_cancel", {"build_id": build["build_id"]})
        await soon(lambda: worker.cancelled == [job.job_id], within_s=SOON_S)
        failed = await status_of(ada, build, "failed")
        assert (failed["completed"], failed["failed"]) == (0, 3)
        shown = await ada.request("GET", f"/api/jobs/{job.job_id}/")
        assert shown["error"]["code"] == "cancelled"

        worker.go_on.set()
        again = await ada.act("job_retry", {"job_id": job.job_id})
        assert again["build_id"] == build["build_id"]
        await status_of(ada, build, "completed")
        with pytest.raises(HubRefused, match="conflict"):
            await ada.act("job_retry", {"job_id": job.job_id})


async def status_of(client: HubClient, build: dict[str, Any], status: str) -> dict[str, Any]:
    """Hear of a build until it has a status."""
    while True:
        told: dict[str, Any] = await client.next("build_status", within_s=SOON_S)
        if (told["build_id"], told["status"]) == (build["build_id"], status):
            return told


async def test_quotas_and_priorities_hold_over_the_wire(hub: LiveHub) -> None:
    async with person(hub) as ada:
        builds = [await ada.act("generate_world", {"spec": plain_world(1)}) for _ in range(4)]
        with pytest.raises(HubRefused, match="quota_exceeded"):
            await ada.act("generate_world", {"spec": plain_world(1)})
        with pytest.raises(HubRefused, match="forbidden"):
            await ada.act("generate_world", {"spec": plain_world(1), "priority": "high"})
        for build in builds:
            cancelled = await ada.act("build_cancel", {"build_id": build["build_id"]})
            assert cancelled["status"] == "failed"


async def test_sigterm_lets_an_engine_end_its_job_and_take_no_other(
    hub: LiveHub, secret: str, tmp_path: Path
) -> None:
    process = reference_engine(hub, secret, tmp_path / "log")
    try:
        async with person(hub) as ada:
            build = await ada.act("generate_world", {"spec": plain_world(2)})
            running = await job_in(ada, build, "running")
            process.send_signal(signal.SIGTERM)
            engines = await engine_shown(ada, "draining")
            assert not engines["online"]
            await job_in(ada, build, "completed")
            assert await asyncio.to_thread(process.wait, ENDS_WITHIN_S) == 0
            shown = await ada.request("GET", f"/api/builds/{build['build_id']}/")
            states = [job["status"] for job in shown["jobs"]]
            assert states == ["completed", "queued", "queued", "queued"]
            assert shown["jobs"][0]["job_id"] == running["job_id"]
            await engine_shown(ada, "lost")
            async with smith(hub.url, secret) as worker:
                worker.go_on.set()
                await status_of(ada, build, "completed")
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def reference_engine(hub: LiveHub, secret: str, log: Path) -> "subprocess.Popen[bytes]":
    """``manage.py engine``, a second slower at each job than it must be."""
    command = ["engine", "--url", hub.url, "--name", NAME, "--capacity", "1", "--pace", "1"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(MANAGE), *command],
            env={**hub.environ, "HUB_ENGINE_SECRET": secret},
            stdout=output,
            stderr=output,
            cwd=CHECKOUT,
        )


async def job_in(client: HubClient, build: dict[str, Any], status: str) -> dict[str, Any]:
    """Hear of a build's jobs until one has a status."""
    while True:
        told: dict[str, Any] = await client.next("job_status", within_s=SOON_S)
        if (told["build_id"], told["status"]) == (build["build_id"], status):
            return told


async def engine_shown(client: HubClient, state: str) -> dict[str, Any]:
    """Hear of the engines until ours has a state."""
    while True:
        told: dict[str, Any] = await client.next("engine_status", within_s=SOON_S)
        if state in {each["state"] for each in told["engines"] if each["name"] == NAME}:
            return told


async def test_while_staff_have_paused_dispatch_jobs_wait_and_then_go_on(
    hub: LiveHub, secret: str
) -> None:
    def dispatch(verb: str) -> None:
        hub.manage("shell", "-c", f"from engine import dispatcher; dispatcher.{verb}(None)")

    async with person(hub) as ada, smith(hub.url, secret) as worker:
        worker.go_on.set()
        await engine_shown(ada, "ready")
        await asyncio.to_thread(dispatch, "pause")
        build = await ada.act("generate_world", {"spec": plain_world(1)})
        told = await status_of(ada, build, "queued")
        assert told["engine_online"]
        await asyncio.sleep(LOOKS_EVERY_S * 2)  # the hub looks every second, and finds nothing
        assert worker.begun.empty()
        await asyncio.to_thread(dispatch, "resume")
        await status_of(ada, build, "completed")


async def test_a_feed_that_no_longer_reaches_back_is_answered_with_a_snapshot(
    hub: LiveHub,
) -> None:
    async with person(hub) as ada:
        build = await ada.act("generate_world", {"spec": plain_world(1)})
        await ada.act("build_cancel", {"build_id": build["build_id"]})
        await status_of(ada, build, "failed")
        place = {"epoch": ada.session["feed"]["epoch"], "after": 0}

    assert (await rejoined(hub, place))[0]["recovered"]

    await asyncio.to_thread(hub.manage, "prune", "--json", HUB_FEED_KEEP_EVENTS="2")
    feed, snapshot = await rejoined(hub, place)
    assert (feed["recovered"], feed["epoch"]) == (False, place["epoch"])
    assert snapshot["builds"][0]["build_id"] == build["build_id"]
    assert {job["status"] for job in snapshot["builds"][0]["jobs"]} == {"failed"}

    kept = {"epoch": place["epoch"], "after": feed["head"] - 2}
    assert (await rejoined(hub, kept))[0]["recovered"]

    await asyncio.to_thread(hub.manage, "doctor", "--after-restore", "--json")
    renewed, snapshot = await rejoined(hub, kept)
    assert not renewed["recovered"]
    assert renewed["epoch"] == snapshot["epoch"] != place["epoch"]
    assert (await rejoined(hub, {"epoch": renewed["epoch"], "after": renewed["head"]}))[0][
        "recovered"
    ]


async def rejoined(hub: LiveHub, place: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Come back to a place in the feed; returns what the session says, and the snapshot if any."""
    async with HubClient(hub.url) as client:
        await client.sign_in("ada", PASSWORD)
        session = await client.connect(feed=place)
        feed: dict[str, Any] = session["feed"]
        return feed, None if feed["recovered"] else await client.next("feed_snapshot")


async def test_what_an_engine_held_before_it_crashed_is_given_out_again_at_once(
    hub: LiveHub, secret: str
) -> None:
    async with person(hub) as ada:
        async with smith(hub.url, secret) as crashed:
            build = await ada.act("generate_world", {"spec": plain_world(1)})
            first = await crashed.next_job()
            crashed.crash()
        async with smith(hub.url, secret) as worker:
            second = await worker.next_job()
            worker.go_on.set()
            await status_of(ada, build, "completed")
    assert first.job_id == second.job_id
    history = "SELECT json_extract(detail, '$.reason') FROM engine_jobevent WHERE event = 'release'"
    assert stored(hub, f"{history} AND job_id = ?", first.job_id) == ["engine_lost"]
    assert second.attempt_id != first.attempt_id
