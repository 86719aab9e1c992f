"""What is not authentic is refused at every event, and decides nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from security.signatures import MessageKey
from tests.engine.engine_bench import (
    BAD_SIGNATURE,
    IDS,
    INCOMPLETE,
    SAYS,
    EngineBench,
    EnginePeer,
    is_refused,
)

Message = list[Any]


def unsigned(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {key: value for key, value in good.items() if key != "sig"}]


def bare(_peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, SAYS[event]]


def with_a_type(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "type": event}]


def with_payload_as_an_object(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "payload": SAYS[event]}]


def with_a_time_as_text(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "ts": str(good["ts"])}]


def without_arguments(_peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event]


def with_two_arguments(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, good, good]


def with_one_bit_flipped(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    flipped = f"{int(good['sig'][0], 16) ^ 1:x}{good['sig'][1:]}"
    return [event, {**good, "sig": flipped}]


def with_another_payload(_peer: EnginePeer, event: str, good: dict[str, Any]) -> Message:
    return [event, {**good, "payload": good["payload"] + " "}]


def as_another_event(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    other = "job_completed" if event != "job_completed" else "job_progress"
    return [event, peer.sign(other, SAYS[event])]


def with_the_hubs_own_key(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, _signed_by(peer, peer.heard_key, event)]


def with_another_engines_key(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    key = peer.key_of("anvil", peer.heard("session")[0], "c2s")
    return [event, _signed_by(peer, key, event)]


def _signed_by(peer: EnginePeer, key: MessageKey, event: str) -> dict[str, Any]:
    own, peer.key = peer.key, key
    try:
        return peer.sign(event, SAYS[event])
    finally:
        peer.key = own


def a_moment_too_old(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, SAYS[event], ts=peer.bench.time.now_ms() - 30_001)]


def a_moment_too_new(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, SAYS[event], ts=peer.bench.time.now_ms() + 30_001)]


def with_a_list(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, [])]


def with_no_json(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, '{"a":1,"a":2}')]


def with_too_much(peer: EnginePeer, event: str, _good: dict[str, Any]) -> Message:
    return [event, peer.sign(event, {**SAYS[event], "more": "x" * 200_000})]


FORGERIES: dict[Callable[..., Message], str] = {
    unsigned: INCOMPLETE,
    bare: INCOMPLETE,
    with_a_type: INCOMPLETE,
    with_payload_as_an_object: INCOMPLETE,
    with_a_time_as_text: INCOMPLETE,
    without_arguments: INCOMPLETE,
    with_two_arguments: INCOMPLETE,
    with_one_bit_flipped: BAD_SIGNATURE,
    with_another_payload: BAD_SIGNATURE,
    as_another_event: BAD_SIGNATURE,
    with_the_hubs_own_key: BAD_SIGNATURE,
    with_another_engines_key: BAD_SIGNATURE,
    a_moment_too_old: "ENGINE_TIMESTAMP_EXPIRED",
    a_moment_too_new: "ENGINE_TIMESTAMP_EXPIRED",
    with_a_list: "PAYLOAD_INVALID",
    with_no_json: "PAYLOAD_INVALID",
    with_too_much: "PAYLOAD_INVALID",
}


@pytest.mark.parametrize("event", SAYS)
@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
async def test_what_is_not_authentic_is_refused_and_decides_nothing(
    hub: EngineBench, event: str, forge: Callable[..., Message]
) -> None:
    peer = hub.engine()
    await peer.connect()
    good = peer.sign(event, SAYS[event])
    answer = await peer.call(*forge(peer, event, good))
    assert (answer["ok"], answer["error"]) == (False, FORGERIES[forge])
    assert is_refused(hub, peer, event, FORGERIES[forge])
    assert hub.names() == []
    assert [action for action, _ in hub.audited] == ["socket_connected"]
    assert (await peer.call(event, good))["ok"] is True  # the genuine one still works


@pytest.mark.parametrize("event", SAYS)
async def test_no_event_is_taken_twice(hub: EngineBench, event: str) -> None:
    peer = hub.engine()
    await peer.connect()
    envelope = peer.sign(event, SAYS[event])
    await peer.call(event, envelope)
    decided = hub.names()
    assert (await peer.call(event, envelope))["error"] == "ENGINE_NONCE_REPLAY"
    assert is_refused(hub, peer, event, "ENGINE_NONCE_REPLAY")
    assert hub.names() == decided


async def test_a_message_for_one_socket_is_none_for_another(hub: EngineBench) -> None:
    first, second = hub.engine(), hub.engine()
    await first.connect()
    await second.connect()
    envelope = first.sign("job_ack", IDS)
    assert (await second.call("job_ack", envelope))["error"] == BAD_SIGNATURE
    assert (await first.call("job_ack", envelope))["ok"] is True


@pytest.mark.parametrize("drift", [-30_000, 30_000])
async def test_the_edges_of_the_window_are_inside(hub: EngineBench, drift: int) -> None:
    peer = hub.engine()
    await peer.connect()
    assert (await peer.say("job_ack", IDS, ts=hub.time.now_ms() + drift))["ok"] is True
