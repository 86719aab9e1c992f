"""Live sockets end with the right behind them: announced in any thread, or found by asking."""

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from realtime import kicks
from realtime.bus import group_name
from security import sessions
from security.principals import Principal
from security.signals import service_ended, sessions_ended
from tests.realtime.guarded import Bench, settle


async def announce(signal: Any, **facts: object) -> None:
    """Send a signal as a database thread does, after its commit."""
    await asyncio.to_thread(signal.send_robust, sender=None, because="revoked", **facts)
    await settle()


async def test_one_login_ends_with_all_its_sockets_and_no_other(bench: Bench) -> None:
    bench.add("ada-elsewhere", 1, session="elsewhere")
    one, two = await bench.joined("ada"), await bench.joined("ada")
    elsewhere, grace = await bench.joined("ada-elsewhere"), await bench.joined("grace")
    await announce(sessions_ended, user_id=1, session_id="session-ada")
    codes = [peer.wires.code for peer in (one, two, elsewhere, grace)]
    assert codes == [4401, 4401, None, None]
    assert one.heard("goodbye")[0]["code"] == 4401
    assert one.texts()[-1] == "41"


async def test_all_logins_of_a_person_end_together(bench: Bench) -> None:
    bench.add("ada-elsewhere", 1, session="elsewhere")
    peers = [await bench.joined(who) for who in ("ada", "ada-elsewhere", "grace")]
    await announce(sessions_ended, user_id=1, session_id=None)
    assert [peer.wires.code for peer in peers] == [4401, 4401, None]


async def test_a_person_is_no_service_of_the_same_number(bench: Bench) -> None:
    peer = await bench.joined("ada")
    await announce(service_ended, kind="engine", name="1")
    assert peer.wires.code is None


async def test_the_other_processes_are_told_and_their_word_is_heard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[str, Any]] = []
    monkeypatch.setattr(bench.node.bus, "publish", lambda *message: published.append(message))
    await announce(sessions_ended, user_id=9, session_id="s")
    body = {"label": "user:9", "session_id": "s", "because": "revoked"}
    assert published == [("kicks", body)]
    peer = await bench.joined("ada")
    envelope = {"topic": "kicks", "origin": "other", "body": {**body, "label": "user:1"}}
    bench.node.bus._deliver({**envelope, "body": {**envelope["body"], "session_id": None}})  # type: ignore[dict-item]  # a body
    assert peer.wires.code == 4401
    assert len(published) == 1


async def test_everybody_is_looked_up_together_every_half_minute(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[Principal]] = []

    def lapsed(principals: set[Principal], *, now: float) -> frozenset[Principal]:
        assert now == pytest.approx(bench.time.now_ms() / 1000)
        asked.append(principals)
        return frozenset(each for each in principals if each.subject == "1")

    monkeypatch.setattr(sessions, "lapsed", lapsed)
    ada, also_ada, grace = [await bench.joined(who) for who in ("ada", "ada", "grace")]
    await bench.advance(29.9)
    assert asked == []
    await bench.advance(0.1)
    assert asked == [{bench.people["ada"], bench.people["grace"]}]
    assert [peer.wires.code for peer in (ada, also_ada, grace)] == [4401, 4401, None]
    await bench.advance(30)
    assert asked[1:] == [{bench.people["grace"]}]


async def test_a_failed_look_up_ends_nobody_and_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError  # noqa: PLC0415 - only here

    asked: list[int] = []

    def lapsed(_principals: object, **_when: float) -> frozenset[Principal]:
        asked.append(1)
        raise OperationalError

    monkeypatch.setattr(sessions, "lapsed", lapsed)
    peer = await bench.joined("ada")
    await bench.advance(30)
    await peer.call("heartbeat")
    await bench.advance(30)
    assert (len(asked), peer.wires.code) == (2, None)


async def test_nobody_is_asked_about_where_nobody_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "lapsed", lambda *_asked, **_when: pytest.fail("asked"))
    await bench.advance(61)


class SharedLayer:
    """A layer that other processes hear."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    async def group_send(self, group: str, message: Any) -> None:
        self.sent.append((group, message))


@pytest.fixture
def no_node(monkeypatch: pytest.MonkeyPatch) -> SharedLayer:
    layer = SharedLayer()
    monkeypatch.setattr(kicks, "_nodes", [])
    monkeypatch.setattr(kicks, "get_channel_layer", lambda: layer)
    return layer


def test_a_command_tells_the_hubs_processes(no_node: SharedLayer) -> None:
    sessions_ended.send(sender=None, user_id=1, session_id=None, because="deactivated")
    service_ended.send(sender=None, kind="engine", name="e1", because="rotated")
    labels = [(group, message["body"]["label"]) for group, message in no_node.sent]
    assert labels == [(group_name("kicks"), "user:1"), (group_name("kicks"), "engine:e1")]


def test_a_command_does_not_wait_for_a_layer_that_hangs(
    no_node: SharedLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kicks, "SENDS_WITHIN_S", 0.01)
    monkeypatch.setattr(no_node, "group_send", lambda *_args: asyncio.Event().wait())
    [(_, error)] = [
        (receiver, said)
        for receiver, said in sessions_ended.send_robust(
            sender=None, user_id=1, session_id=None, because="deactivated"
        )
        if said is not None
    ]
    assert isinstance(error, TimeoutError)


def test_a_process_with_a_node_leaves_it_to_the_node(
    no_node: SharedLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kicks, "_nodes", [object()])
    kicks.announce_without_node("user:1", None, "revoked")
    assert no_node.sent == []


@pytest.mark.parametrize("layer", [None, InMemoryChannelLayer()])
def test_without_a_shared_layer_nobody_can_be_told(
    monkeypatch: pytest.MonkeyPatch, layer: object
) -> None:
    monkeypatch.setattr(kicks, "_nodes", [])
    monkeypatch.setattr(kicks, "get_channel_layer", lambda: layer)
    kicks.announce_without_node("user:1", None, "revoked")


async def test_a_stopped_process_hears_nothing(bench: Bench) -> None:
    peer = await bench.joined("ada")
    bench.hub.kicks.stop()
    bench.hub.kicks.stop()
    await announce(sessions_ended, user_id=1, session_id=None)
    assert peer.wires.code is None
