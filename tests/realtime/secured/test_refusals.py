"""Every refusal is answered once and recorded once, and none of them ends more than it must."""

import asyncio
from typing import Any

import pytest

from security import database
from tests.realtime.guarded import Bench, settle


async def test_a_refusal_is_answered_in_the_ack_and_recorded_with_its_message(bench: Bench) -> None:
    peer = await bench.joined()
    envelope = peer.sign("click", {"x": 1})
    assert (await peer.call("action", envelope))["ok"] is True
    answer = await peer.call("action", envelope)
    assert (answer["ok"], answer["error"]) == (False, "replay_detected")
    assert answer.keys() == {"ok", "error", "message", "server_time"}
    incident = bench.incidents[0]
    assert (incident.kind, incident.event_type) == ("replay_detected", "click")
    assert len(incident.payload_sha256) == 64
    assert incident.sid == bench.hub.node.sessions[peer.session.id].sockets["/"].id


async def test_a_refusal_without_ack_comes_as_action_error(bench: Bench) -> None:
    peer = await bench.joined()
    peer.send('42["action",{}]')
    await settle()
    assert peer.heard("action_error")[0]["error"] == "malformed"


async def test_the_answer_waits_for_the_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = await bench.joined()
    stored = asyncio.Event()

    async def record(_incident: object) -> None:
        await stored.wait()

    monkeypatch.setattr(bench.guard, "record", record)
    assert await peer.call("action", {}) == {}
    stored.set()
    await settle()
    assert peer.answer(0)["error"] == "malformed"


# Every way in which an event's arguments can be wrong: the answer's code and the record's type.
WRONG: list[tuple[tuple[Any, ...], str, str]] = [
    (("action",), "malformed", "action"),
    (("action", {}, {}), "malformed", "action"),
    (("action", None), "malformed", "action"),
    (("action", []), "malformed", "action"),
    (("action", "text"), "malformed", "action"),
    (("action", 10**300), "malformed", "action"),
    (("heartbeat", 1), "malformed", "heartbeat"),
    (("heartbeat", []), "malformed", "heartbeat"),
    (("heartbeat", {"ts": None}), "malformed", "heartbeat"),
    (("heartbeat", {"ts": {}}), "malformed", "heartbeat"),
    (("heartbeat", {"ts": 1, "state": "active"}), "malformed", "heartbeat"),
    (("heartbeat", {}, {}), "malformed", "heartbeat"),
    (("feed",), "malformed", "feed"),
    (("feed", None), "malformed", "feed"),
    (("feed", {}), "malformed", "feed"),
    (("feed", {"after": "1"}), "malformed", "feed"),
    (("feed", {"after": 1.0}), "malformed", "feed"),
    (("feed", {"after": -1}), "malformed", "feed"),
    (("feed", {"after": 2**53}), "malformed", "feed"),
    (("feed", {"after": 1, "epoch": 1}), "malformed", "feed"),
    (("feed", {"after": 1, "epoch": "x" * 65}), "malformed", "feed"),
    (("feed", {"after": 1, "epoch": "\x00"}), "malformed", "feed"),
    (("feed", {"after": 1, "user_id": 2}), "malformed", "feed"),
    (("reauth",), "malformed", "reauth"),
    (("reauth", {}), "malformed", "reauth"),
    (("reauth", {"token": "ada", "role": "staff"}), "malformed", "reauth"),
    (("reauth", {"token": None}), "AUTH_INVALID", "reauth"),
    (("reauth", {"token": ["ada"]}), "AUTH_INVALID", "reauth"),
    (("fly", {}), "unknown_type", "fly"),
    ((5, {}), "unknown_type", ""),
    ((1e300,), "unknown_type", ""),
    (("",), "unknown_type", ""),
    (("<script>", {}), "unknown_type", ""),
    (("*", "action"), "unknown_type", ""),
    (("__init__",), "unknown_type", ""),
    (("x" * 10_000,), "unknown_type", ""),
]


@pytest.mark.parametrize(("args", "code", "event"), WRONG)
async def test_no_arguments_crash_a_handler(
    bench: Bench, args: tuple[Any, ...], code: str, event: str
) -> None:
    peer = await bench.joined()
    bystander = await bench.joined("grace")
    written = len(bystander.wires.frames)
    assert (await peer.call(*args))["error"] == code
    assert [(each.kind, each.event_type) for each in bench.incidents] == [(code.lower(), event)]
    assert peer.wires.code is None
    assert (await peer.act("emote"))["ok"] is True
    assert (await bystander.act("click"))["ok"] is True
    assert [frame for frame in bystander.texts()[written:] if "presence" in frame] == []


@pytest.mark.parametrize(
    "packet",
    [
        '451-["action",{"_placeholder":true,"num":0}]',
        '451-7["action",{"_placeholder":true,"num":0}]',
        '451-["heartbeat",{"ts":{"_placeholder":true,"num":0}}]',
        '451-["heartbeat"]',
    ],
)
async def test_binary_events_are_malformed_before_their_attachments_are_kept(
    bench: Bench, packet: str
) -> None:
    peer = await bench.joined()
    peer.send(packet)
    peer.send(b"\x00" * 10)
    await settle()
    assert [(each.kind, each.detail) for each in bench.incidents] == [
        ("malformed", {"reason": "binary"})
    ]
    assert peer.wires.code is None
    assert (await peer.act("click"))["ok"] is True


async def test_a_fault_is_that_of_whoever_joined_last_on_the_connection(bench: Bench) -> None:
    peer = await bench.joined("ada")
    peer.send("41")
    await peer.connect("grace")
    peer.send("9")
    await settle()
    assert [(each.kind, each.principal) for each in bench.incidents] == [("malformed", "user:2")]


async def test_a_handler_that_raises_is_our_fault_on_record_and_ends_only_its_socket(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, other = await bench.joined(), await bench.joined("grace")

    def fail(*_args: object) -> None:
        raise RuntimeError("a secret of the handler")

    monkeypatch.setattr(bench.hub, "tell_action", fail)
    assert await peer.act("click") == {}
    assert peer.wires.code == 1011
    assert [(each.kind, each.event_type) for each in bench.incidents] == [
        ("internal_error", "click")
    ]
    assert not any("secret" in frame or "Traceback" in frame for frame in peer.texts())
    monkeypatch.undo()
    assert other.wires.code is None


async def test_a_database_in_trouble_asks_to_try_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await bench.joined()

    async def fail(*_args: object, **_kwargs: object) -> None:
        raise database.DatabaseBusy("pool", 1)

    monkeypatch.setattr(database, "read", fail)
    assert (await peer.call("feed", {"after": 0}))["error"] == "try_again"
    assert (peer.wires.code, bench.kinds()) == (None, ["try_again"])
