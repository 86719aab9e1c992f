"""Decisions made outside the coordinator reach the sockets of their process after their commit."""

import asyncio
from typing import Any, cast

import pytest
from django.db import transaction

from engine import effects
from engine.coordinator import Coordinator
from engine.outcome import Outcome

OUTCOME = Outcome(assignable=True)


@pytest.fixture(autouse=True)
def _no_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "_sinks", [])


@pytest.mark.django_db(transaction=True)
def test_effects_wait_for_the_commit_and_a_rollback_has_none() -> None:
    seen: list[Outcome] = []
    effects.announce(seen.append)
    with transaction.atomic():
        assert effects.hand_over(OUTCOME) is OUTCOME
        assert seen == []
    assert seen == [OUTCOME]
    with transaction.atomic():
        effects.hand_over(OUTCOME)
        transaction.set_rollback(True)
    assert seen == [OUTCOME]


@pytest.mark.django_db(transaction=True)
def test_where_nobody_holds_sockets_nobody_is_told() -> None:
    assert effects.hand_over(OUTCOME) is OUTCOME


class Node:
    """As much of a node as a coordinator's start asks for."""

    id = "n"

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.bus = self.timers = self

    def subscribe(self, *_topic: object) -> None:
        """Nobody publishes here."""

    def after(self, *_timer: object) -> None:
        """No time passes here."""


async def test_a_coordinator_carries_out_what_another_thread_hands_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    carried: asyncio.Queue[Outcome] = asyncio.Queue()
    coordinator = Coordinator()
    monkeypatch.setattr(coordinator, "carry_out", carried.put_nowait)
    coordinator.start(cast("Any", Node()))
    await asyncio.to_thread(effects._pass_on, OUTCOME)
    async with asyncio.timeout(5):
        assert await carried.get() is OUTCOME


def test_a_coordinator_whose_loop_has_ended_is_no_trouble() -> None:
    async def start() -> None:
        Coordinator().start(cast("Any", Node()))

    asyncio.run(start())
    effects._pass_on(OUTCOME)
