"""The process's one channel on the layer: what it carries, and what when the layer fails."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import bus as module
from realtime.bus import Bus, group_name
from tests.realtime.layer import Layer
from tests.waiting import soon

WITHIN_S = 5.0


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    layer = Layer()
    monkeypatch.setattr(module, "get_channel_layer", lambda: layer)
    monkeypatch.setattr(module, "RETRY_S", 0)
    return layer


@pytest.fixture
async def pair(layer: Layer) -> AsyncIterator[tuple[Bus, Bus]]:
    """Two processes."""
    buses = Bus("one"), Bus("two")
    for bus in buses:
        bus.start()
    yield buses
    for bus in buses:
        await bus.stop()


async def quiet() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_others_hear_a_topic_and_the_sender_does_not(pair: tuple[Bus, Bus]) -> None:
    heard: list[Any] = []
    pair[0].subscribe("t", lambda message: heard.append(("one", message)))
    pair[1].subscribe("t", lambda message: heard.append(("two", message)))
    await quiet()
    pair[0].publish("t", {"a": 1})
    await quiet()
    assert heard == [("two", {"a": 1})]


async def test_the_last_listener_ends_the_subscription(pair: tuple[Bus, Bus], layer: Layer) -> None:
    heard: list[Any] = []
    listeners = [lambda _m: heard.append(1), lambda _m: heard.append(2)]
    for listener in listeners:
        pair[1].subscribe("t", listener)
    pair[1].unsubscribe("t", listeners[0])
    await quiet()
    pair[0].publish("t", {})
    await quiet()
    pair[1].unsubscribe("t", listeners[1])
    pair[1].unsubscribe("t", listeners[1])
    await quiet()
    assert (heard, layer.groups) == ([2], {group_name("t"): set()})


async def test_a_failing_layer_is_told_and_comes_back(pair: tuple[Bus, Bus], layer: Layer) -> None:
    await quiet()
    layer.fails = 1
    pair[0].publish("t", {})
    await quiet()
    assert (pair[0].healthy, pair[0].dropped) == (False, 1)
    pair[0].publish("t", {})
    await quiet()
    assert pair[0].healthy


async def test_a_subscription_that_failed_is_made_up_for(
    pair: tuple[Bus, Bus], layer: Layer
) -> None:
    heard: list[Any] = []
    await quiet()
    layer.fails = 1
    pair[1].subscribe("t", heard.append)
    await quiet()
    pair[0].publish("t", {})
    await quiet()
    assert heard == [{}]


async def test_who_unsubscribes_before_the_subscription_works_hears_nothing(
    pair: tuple[Bus, Bus], layer: Layer
) -> None:
    heard: list[Any] = []
    await quiet()
    layer.fails = 1
    pair[1].subscribe("t", heard.append)
    pair[1].unsubscribe("t", heard.append)
    await quiet()
    pair[0].publish("t", {})
    await quiet()
    assert (heard, pair[1]._unsettled) == ([], {})


async def test_a_subscription_that_found_the_queue_full_is_made_up_for(
    layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 1)
    bus = Bus("one")
    for topic in "abc":
        bus.subscribe(topic, print)
    bus.start()
    await quiet()
    assert set(layer.groups) == {group_name(topic) for topic in "abc"}
    await bus.stop()


async def test_a_listener_that_raises_stops_nobody(pair: tuple[Bus, Bus]) -> None:
    def broken(_message: object) -> None:
        raise LookupError

    heard: list[Any] = []
    for listener in (broken, heard.append):
        pair[1].subscribe("t", listener)
    await quiet()
    for _ in range(2):
        pair[0].publish("t", {})
    await quiet()
    assert heard == [{}, {}]


async def test_a_layer_that_gives_no_channel_is_asked_again(layer: Layer) -> None:
    layer.fails = 2
    bus = Bus("one")
    bus.start()
    await quiet()
    assert list(layer.channels) == ["c0"]
    await bus.stop()


async def test_a_layer_that_hangs_at_the_beginning_is_unhealthy_and_asked_again(
    layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CARRIES_WITHIN_S", 0.01)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    with pytest.MonkeyPatch.context() as hanging:
        hanging.setattr(layer, "new_channel", lambda: asyncio.Event().wait())
        bus = Bus("one")
        bus.start()
        await soon(lambda: not bus.healthy)
    await soon(lambda: list(layer.channels) == ["c0"])
    await bus.stop()


async def test_more_than_may_wait_is_dropped_and_counted(
    layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    bus = Bus("one")
    for _ in range(5):
        bus.publish("t", {})
    assert bus.dropped == 3


async def test_broadcasts_wait_for_all_else_and_take_only_their_part_of_the_queue(
    pair: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BROADCASTS_WAITING", 2)
    heard: list[Any] = []
    pair[1].subscribe("t", heard.append)
    await pair[1].carried()
    for number in range(4):
        pair[0].publish("t", {"broadcast": number}, rank=module.LAST)
        pair[0].publish("t", {"kick": number})
    await pair[0].carried()
    await quiet()
    kicks = [{"kick": number} for number in range(4)]
    assert heard == [*kicks, {"broadcast": 0}, {"broadcast": 1}]
    assert pair[0].dropped == 2
    pair[0].publish("t", {"broadcast": 9}, rank=module.LAST)
    await pair[0].carried()
    await quiet()
    assert heard[-1] == {"broadcast": 9}


async def test_alone_in_its_process_a_bus_carries_nothing() -> None:
    bus = Bus("one")
    bus.start()
    bus.publish("t", {})
    assert (bus.shared, bus.dropped, bus._operations.qsize()) == (False, 0, 0)
    await bus.stop()


@given(st.text(max_size=200))
def test_every_topic_has_a_name_that_layers_accept(topic: str) -> None:
    assert re.fullmatch(
        r"[a-zA-Z0-9\-_.]{1,99}", group_name(topic.encode("utf-8", "replace").decode())
    )


@given(st.text(max_size=50), st.text(max_size=50))
def test_two_topics_have_two_names(one: str, other: str) -> None:
    names = {group_name(topic.encode("utf-8", "replace").decode()) for topic in (one, other)}
    same = one.encode("utf-8", "replace") == other.encode("utf-8", "replace")
    assert len(names) == (1 if same else 2)


async def test_what_was_published_is_carried_however_much_follows(
    pair: tuple[Bus, Bus], layer: Layer
) -> None:
    heard: list[int] = []
    pair[1].subscribe("t", lambda message: heard.append(message["number"]))
    await quiet()
    numbers = itertools.count()

    async def go_on() -> None:
        while True:
            pair[0].publish("t", {"number": next(numbers)})
            await asyncio.sleep(0)

    babble = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    pair[0].publish("t", {"number": -1})
    async with asyncio.timeout(WITHIN_S):
        await pair[0].carried()
        await quiet()
    babble.cancel()
    assert -1 in heard
    await pair[0].carried()


async def test_nobody_waits_for_a_bus_that_has_ended(layer: Layer) -> None:
    bus = Bus("one")
    bus.publish("t", {})
    async with asyncio.timeout(WITHIN_S):
        await bus.carried()


async def test_a_layer_that_hangs_is_given_up_and_tried_again(
    pair: tuple[Bus, Bus], layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    pair[1].subscribe("t", heard.append)
    await pair[1].carried()
    monkeypatch.setattr(module, "CARRIES_WITHIN_S", 0.01)
    monkeypatch.setattr(layer, "group_send", lambda *_args: asyncio.Event().wait())
    pair[0].publish("t", {"lost": True})
    await pair[0].carried()
    assert (pair[0].healthy, pair[0].dropped) == (False, 1)
    monkeypatch.undo()
    monkeypatch.setattr(module, "RETRY_S", 0)
    pair[0].publish("t", {"lost": False})
    await pair[0].carried()
    await quiet()
    assert (pair[0].healthy, heard) == (True, [{"lost": False}])
