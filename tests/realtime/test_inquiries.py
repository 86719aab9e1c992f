"""A question to all processes: who answers, when the asking ends, and what comes too late."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest

from realtime import bus as module
from realtime.bus import Bus
from realtime.inquiries import Inquiries
from tests.realtime.layer import Layer

FOREVER_S = 30.0

Start = Callable[..., Awaitable[list["Process"]]]


class Process:
    """As much of a node as questions need."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.bus = Bus(name)
        self.asked: list[Any] = []
        self.inquiries = Inquiries()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        self.bus.start()
        self.inquiries.bind(self)  # type: ignore[arg-type]  # stands in for a node

    async def stop(self) -> None:
        await self.inquiries.stop()
        await self.bus.stop()

    def background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def says(self, *answers: Mapping[str, Any]) -> None:
        async def answer(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
            self.asked.append(body)
            await self.may_answer.wait()
            return answers

        self.inquiries.answer("who", answer)


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    layer = Layer()
    monkeypatch.setattr(module, "get_channel_layer", lambda: layer)
    started: list[Process] = []

    async def all_of(*names: str) -> list[Process]:
        started.extend(map(Process, names))
        for process in started:
            process.start()
        for process in started:
            await process.bus.carried()
        return started

    yield all_of
    for process in started:
        await process.stop()


async def test_all_processes_answer_the_own_one_first(start: Start) -> None:
    near, far, farther = await start("near", "far", "farther")
    near.says({"at": "near"})
    far.says({"at": "far", "part": 1}, {"at": "far", "part": 2})
    farther.says()
    answers = await near.inquiries.ask("who", {"name": "ada"}, within_s=FOREVER_S, enough=3)
    assert answers[0] == {"at": "near"}
    assert [each["part"] for each in answers[1:]] == [1, 2]
    assert near.asked == far.asked == farther.asked == [{"name": "ada"}]


async def test_enough_answers_of_the_own_process_ask_nobody_else(
    start: Start,
) -> None:
    near, far = await start("near", "far")
    near.says({"here": True})
    far.says({"here": True})
    assert len(await near.inquiries.ask("who", {}, within_s=FOREVER_S, enough=1)) == 1
    assert far.asked == []


async def test_the_asking_ends_when_its_time_is_over(start: Start) -> None:
    near, far = await start("near", "far")
    near.says({"at": "near"})
    far.says({"at": "far"})
    far.may_answer.clear()
    assert await near.inquiries.ask("who", {}, within_s=0.01) == [{"at": "near"}]
    far.may_answer.set()
    late = await near.inquiries.ask("who", {}, within_s=FOREVER_S, enough=2)
    assert late == [{"at": "near"}, {"at": "far"}]


async def test_who_does_not_know_the_question_says_nothing(
    start: Start,
) -> None:
    near, _older_release, far = await start("near", "older", "far")
    near.says()
    far.says({"at": "far"})
    assert await near.inquiries.ask("who", {}, within_s=FOREVER_S, enough=1) == [{"at": "far"}]


async def test_alone_the_own_process_is_asked_and_nobody_waited_for() -> None:
    alone = Process("alone")
    alone.start()
    alone.says({"at": "alone"})
    assert await alone.inquiries.ask("who", {}, within_s=FOREVER_S) == [{"at": "alone"}]
    await alone.stop()
