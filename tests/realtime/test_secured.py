"""A namespace behind the gate: who may join, what every refusal does, and how a socket ends."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from realtime.attendance import Attendance
from realtime.namespaces import Socket
from security import database, sessions, tokens
from security.refusals import Refused
from security.signatures import MessageKey, from_base64url, socket_key, to_base64url
from tests.realtime.guarded import Bench, Peer, settle

NONCE_32 = to_base64url(b"n" * 32)


# -- joining


async def test_a_token_gets_a_session_with_what_the_client_needs(bench: Bench) -> None:
    peer = bench.peer()
    session = await peer.connect("ada")
    assert session["principal"] == "user:1"
    assert (session["role"], session["namespace"], session["drift_ms"]) == ("user", "/", 15_000)
    assert len(from_base64url(session["server_nonce"])) == 32
    assert session["token_expires_at"] == bench.time.now_ms() + 300_000
    assert bench.incidents == []
    assert [action for action, _ in bench.audited] == ["socket_connected"]


async def test_the_connect_reply_comes_before_every_event(bench: Bench) -> None:
    peer = await bench.joined()
    assert peer.texts()[1].startswith('40{"sid"')
    assert peer.texts()[2].startswith('42["session"')


async def test_each_connection_has_a_nonce_and_hence_a_key_of_its_own(bench: Bench) -> None:
    nonces = {(await bench.peer().connect())["server_nonce"] for _ in range(5)}
    assert len(nonces) == 5


async def test_the_clients_nonce_is_part_of_the_key(bench: Bench) -> None:
    peer = bench.peer()
    session = await peer.connect("ada", client_nonce=NONCE_32)
    assert (await peer.act("click"))["error"] == "invalid_signature"
    where = {"namespace": "/", "principal": "user:1", "sid": session["sid"]}
    derived = socket_key(
        sessions.secret_of(bench.people["ada"]),
        server_nonce=from_base64url(session["server_nonce"]),
        client_nonce=b"n" * 32,
        direction="c2s",
        **where,
    )
    peer.key = MessageKey(derived, direction="c2s", **where)
    assert (await peer.act("click"))["ok"] is True


CONNECTS: list[tuple[str, str, str]] = [
    ("40", "AUTH_REQUIRED", "auth_required"),
    ("40{}", "AUTH_REQUIRED", "auth_required"),
    ('40{"token":null}', "AUTH_REQUIRED", "auth_required"),
    ('40{"token":""}', "AUTH_REQUIRED", "auth_required"),
    ('40{"token":[]}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":["ada"]}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":{}}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":0}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":1}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":true}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"nobody"}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"expired"}', "AUTH_EXPIRED", "auth_expired"),
    ('40{"simulated":true}', "AUTH_INVALID", "auth_bypass_attempt"),
    ('40{"token":"ada","simulated":true}', "AUTH_INVALID", "auth_bypass_attempt"),
    ('40{"token":"ada","role":"staff"}', "AUTH_INVALID", "auth_bypass_attempt"),
    ('40{"token":"ada","userId":"2"}', "AUTH_INVALID", "auth_bypass_attempt"),
    ('40{"token":"ada","":1}', "AUTH_INVALID", "auth_bypass_attempt"),
    ('40{"token":"ada","client_nonce":""}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","client_nonce":5}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","client_nonce":"short"}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","client_nonce":"' + NONCE_32 + '="}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","feed":[]}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","feed":{}}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","feed":{"epoch":"e","after":true}}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","feed":{"epoch":"e","after":-1}}', "AUTH_INVALID", "auth_invalid"),
    ('40{"token":"ada","feed":{"epoch":"\\u0000","after":1}}', "AUTH_INVALID", "auth_invalid"),
]


@pytest.mark.parametrize(("packet", "code", "kind"), CONNECTS)
async def test_a_bad_connect_is_refused_recorded_once_and_closed(
    bench: Bench, packet: str, code: str, kind: str
) -> None:
    bench.expired.add("expired")
    peer = bench.peer()
    peer.send(packet)
    await settle()
    refusal = json.loads(peer.texts()[-1][2:])
    assert refusal["message"] == refusal["data"]["code"] == code
    assert refusal["data"].keys() == {"code", "retry", "server_time"}
    assert bench.kinds() == [kind]
    assert peer.wires.code == 4401
    assert len(bench.guard.roster) == 0
    assert bench.audited == []


async def test_the_keys_of_socket_io_itself_are_ignored(bench: Bench) -> None:
    assert (await bench.peer().connect("ada", pid="p", offset="o"))["principal"] == "user:1"


async def test_a_ninth_socket_is_refused_and_a_place_that_was_left_is_free(bench: Bench) -> None:
    peers = [await bench.joined() for _ in range(8)]
    ninth = bench.peer()
    assert (await ninth.connect())["message"] == "TOO_MANY_CONNECTIONS"
    assert (ninth.wires.code, bench.kinds()) == (4429, ["too_many_connections"])
    assert (await bench.peer().connect("grace"))["principal"] == "user:2"
    peers[0].lose()
    assert (await bench.peer().connect())["principal"] == "user:1"


async def test_a_services_sockets_count_by_token_so_a_stolen_one_locks_nobody_out(
    bench: Bench,
) -> None:
    engine: dict[str, Any] = {"kind": "engine", "subject": "e1", "session_id": ""}
    bench.renew("stolen", of="ada", token_id="t1", **engine)
    bench.renew("fresh", of="ada", token_id="t2", **engine)
    hub = bench.hub
    for _ in range(8):
        socket: Any = Socket(hub, bench.peer().session, "x")
        socket.state = SimpleNamespace(principal=bench.people["stolen"])
        bench.guard.roster.add("engine:e1", socket)
    with pytest.raises(Refused, match="TOO_MANY_CONNECTIONS"):
        hub.admit(socket, bench.people["stolen"])
    hub.admit(socket, bench.people["fresh"])


class Places:
    """The places of a person as all processes count them."""

    def __init__(self, patch: pytest.MonkeyPatch, bench: Bench) -> None:
        self.full = False
        self.held: list[tuple[str, str]] = []
        patch.setattr(bench.guard.processes, "claim", self.claim)
        patch.setattr(bench.guard.processes, "free", lambda *place: self.held.remove(place))

    async def claim(self, topic: str, name: str, *, limit: int) -> bool:
        assert limit == 8
        await asyncio.sleep(0)
        if not self.full:
            self.held.append((topic, name))
        return not self.full


async def test_a_place_is_held_at_all_processes_as_long_as_the_socket_lives(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    peer = bench.peer()
    session = await peer.connect()
    assert places.held == [("sockets:user:1", session["sid"])]
    peer.lose()
    assert places.held == []


async def test_who_finds_no_place_at_any_process_does_not_come_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    places.full = True
    assert (await bench.peer().connect())["message"] == "TOO_MANY_CONNECTIONS"
    assert (bench.kinds(), len(bench.guard.roster)) == (["too_many_connections"], 0)


async def test_whose_login_ends_while_a_place_is_taken_gives_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    monkeypatch.setattr(bench.guard.roster, "ended_since", lambda *_who: True)
    assert (await bench.peer().connect())["message"] == "AUTH_INVALID"
    assert places.held == []


async def test_who_leaves_while_a_place_is_taken_gives_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(monkeypatch, bench)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await asyncio.sleep(0)
    peer.lose()
    await settle()
    assert places.held == []


class Gates:
    """Holds up whoever asks the database, until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened = asyncio.Event()
        self.asked = 0
        patch.setattr(database, "read", self)

    async def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        await self.opened.wait()
        return function(*args, **kwargs)


async def test_places_are_taken_and_counted_in_one_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    peers = [bench.peer() for _ in range(12)]
    for peer in peers:
        peer.send('40{"token":"ada"}')
    await settle()
    assert gates.asked == 12
    gates.opened.set()
    await settle()
    assert len(bench.guard.roster.of("user:1")) == 8
    assert bench.kinds() == ["too_many_connections"] * 4


async def test_who_leaves_while_being_authorized_holds_no_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await settle()
    peer.lose()
    gates.opened.set()
    await settle()
    assert len(bench.guard.roster) == 0
    assert bench.audited == []


async def test_a_login_that_ends_while_it_is_authorized_does_not_come_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await settle()
    bench.guard.roster.end("user:1", "session-ada", now=bench.node.now())
    gates.opened.set()
    await settle()
    assert bench.kinds() == ["auth_invalid"]
    assert len(bench.guard.roster) == 0


async def test_a_token_that_expires_while_it_is_authorized_is_closed_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await settle()
    bench.people["ada"] = bench.renew("ada", of="ada", expires_at=bench.time.now_ms() + 1_000)
    bench.time.now += 2.0
    gates.opened.set()
    await settle()
    await bench.advance(0.0)
    assert peer.wires.code == 4401


class Stopped:
    """Joining waits here, after the CONNECT reply."""

    def __init__(self, patch: pytest.MonkeyPatch, bench: Bench) -> None:
        self.opened = asyncio.Event()
        begin = bench.hub.feed.begin

        async def wait(*args: Any) -> Any:
            await self.opened.wait()
            return await begin(*args)

        patch.setattr(bench.hub.feed, "begin", wait)


async def test_who_leaves_while_joining_leaves_no_ghost_and_no_timer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch, bench)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await settle()
    peer.lose()
    stopped.opened.set()
    await settle()
    attendance: Attendance = bench.hub.attendance
    assert (bench.hub.crowd._halls, attendance._beats, attendance._presence) == ({}, {}, {})
    assert bench.hub.feed._followers == {}
    assert len(bench.guard.roster) == 0
    await bench.advance(10_000)
    assert bench.incidents == []


@pytest.mark.parametrize(
    "trouble", [database.DatabaseBusy("x", 1), OperationalError("gone"), TimeoutError()]
)
async def test_a_database_in_trouble_closes_so_that_clients_come_back(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
) -> None:
    async def fail(*_args: object, **_kwargs: object) -> None:
        raise trouble

    monkeypatch.setattr(database, "read", fail)
    peer = bench.peer()
    peer.send('40{"token":"ada"}')
    await settle()
    assert peer.wires.code == 1011
    assert not any(frame.startswith("44") for frame in peer.texts())
    assert bench.kinds() == ["try_again"]
    assert caplog.records == []  # nothing else failed on the way


async def test_the_principal_of_a_refusal_is_known_once_it_is_proved(bench: Bench) -> None:
    for _ in range(9):
        await bench.peer().connect("ada")
    assert bench.incidents[0].principal == "user:1"
    assert bench.incidents[0].login_session == "session-ada"
    assert bench.incidents[0].event_type == "connect"


# -- refusals


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


async def test_what_the_bucket_refuses_is_rate_limited_and_never_read(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(messages_per_s=1.0, message_burst=2)
    peer = await bench.joined()
    answers = [await peer.call("action", "{") for _ in range(2)]
    assert [each["error"] for each in answers] == ["malformed"] * 2
    late = await peer.call("action", "{")
    assert (late["error"], late["retry_after_ms"]) == ("rate_limited", 1_000)
    await bench.advance(1.0)
    assert (await peer.act("click"))["ok"] is True


async def test_bytes_are_limited_as_well(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(bytes_per_s=100.0, byte_burst=2_000)
    peer = await bench.joined()
    peer.send("3" * 1 + "x" * 1_800)
    assert (await peer.call("action", "x" * 300))["error"] == "rate_limited"


async def test_a_spent_budget_says_goodbye_closes_and_keeps_the_session_out(bench: Bench) -> None:
    peer, other = await bench.joined(), await bench.joined("grace")
    envelope = peer.sign("click")
    await peer.call("action", envelope)
    answers = [(await peer.call("action", envelope)).get("error") for _ in range(4)]
    assert answers == ["replay_detected"] * 4
    assert peer.wires.code == 4429
    assert peer.heard("goodbye")[0]["retry_after_ms"] >= 60_000
    assert bench.kinds() == ["replay_detected"] * 4 + ["budget_exceeded"]
    again = bench.peer()
    refusal = await again.connect()
    assert refusal["message"] == "PENALTY"
    assert refusal["data"]["detail"]["retry_after_ms"] == 60_000
    bench.add("ada-elsewhere", 1, session="another-login")
    assert (await bench.peer().connect("ada-elsewhere"))["principal"] == "user:1"
    assert other.wires.code is None
    await bench.advance(60.0)
    assert (await bench.peer().connect("ada"))["principal"] == "user:1"


class Elsewhere:
    """Penalties that another process may know of, and that take a while to answer."""

    def __init__(self, rest_ms: int) -> None:
        self.rest_ms = rest_ms

    def punish(self, key: object, *, until: float) -> None:
        raise AssertionError(key, until)

    async def is_penalised(self, key: object, _now: float) -> int:
        assert key == "session-ada"
        await asyncio.sleep(0)
        return self.rest_ms


async def test_a_penalty_earned_at_another_process_holds_here(
    make_bench: Callable[..., Bench],
) -> None:
    refusal = await make_bench(penalties=Elsewhere(700)).peer().connect("ada")
    assert refusal["data"]["code"] == "PENALTY"
    assert refusal["data"]["detail"]["retry_after_ms"] == 700
    assert (await make_bench(penalties=Elsewhere(0)).peer().connect("ada"))["role"] == "user"


async def rejoined(peer: Peer, who: str = "ada") -> bool:
    """Leave and CONNECT again, on the same connection."""
    peer.send("41")
    peer.wires.frames.clear()
    return "sid" in await peer.connect(who)


async def test_joining_again_counts_as_a_connection_of_the_address(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(handshakes_per_s=1.0, handshake_burst=3)
    peer, other = await bench.joined(), await bench.joined("grace", peer="192.0.2.2")
    assert [await rejoined(peer) for _ in range(4)] == [True, True, True, False]
    assert (bench.kinds(), peer.wires.code) == (["too_many_connections"], 4429)
    assert bench.incidents[0].detail == {"reason": "connects"}
    assert await rejoined(other, "grace")


async def test_joining_again_may_be_counted_together_with_other_processes(
    make_bench: Callable[..., Bench],
) -> None:
    rates = Rates(700)
    peer = await make_bench(handshakes=rates).joined()
    peer.send("41")
    peer.wires.frames.clear()
    refusal = (await peer.connect("ada"))["data"]
    assert rates.asked == ["192.0.2.1"]
    assert refusal["code"] == "TOO_MANY_CONNECTIONS"
    assert refusal["detail"] == {"retry_after_ms": 700}


class Rates:
    """Handshakes that are counted elsewhere, and take a while."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        self.asked: list[str | None] = []

    async def take(self, ip: str | None, _now: float) -> int:
        self.asked.append(ip)
        await asyncio.sleep(0)
        return self.wait_ms


async def test_what_is_still_refused_after_the_close_spends_no_budget_twice(bench: Bench) -> None:
    peer = await bench.joined()
    socket = peer.session.sockets["/"]
    peer.lose()
    for _ in range(5):
        await bench.hub._refuse(socket, Refused("replay_detected"), "action", None)
    assert bench.kinds() == ["replay_detected"] * 5


async def test_the_goodbye_of_a_spent_budget_names_the_penalty_and_no_other_does(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(penalty_s=600.0)
    peer, other = await bench.joined("ada"), await bench.joined("grace")
    peer.session.close(4429)
    other.session.close(1012)
    assert peer.heard("goodbye")[0]["retry_after_ms"] >= 600_000
    assert other.heard("goodbye")[0]["retry_after_ms"] < 600_000


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


# -- the token while connected


async def test_a_token_is_warned_of_a_minute_before_and_closed_at_its_expiry(bench: Bench) -> None:
    peer = await bench.joined()
    beat = asyncio.create_task(beating(bench, peer, 239))
    await beat
    assert peer.heard("auth_expiring") == []
    await bench.advance(1)
    assert peer.heard("auth_expiring")[0]["token_expires_at"] == bench.people["ada"].expires_at
    await beating(bench, peer, 59)
    assert peer.wires.code is None
    await bench.advance(1)
    assert len(peer.heard("auth_expired")) == 1
    assert peer.heard("goodbye")[0]["code"] == peer.wires.code == 4401
    assert peer.texts()[-1] == "41"
    assert bench.incidents == []


async def beating(bench: Bench, peer: Any, seconds: int) -> None:
    for _ in range(seconds):
        await bench.advance(1)
        await peer.call("heartbeat")


async def test_a_message_after_the_expiry_is_refused_even_if_no_timer_rang(bench: Bench) -> None:
    peer = await bench.joined()
    bench.time.now += 300  # as after a pause of the whole process
    answer = await peer.act("click")
    assert (answer["error"], bench.kinds()) == ("auth_expired", ["auth_expired"])
    assert peer.wires.code == 4401


async def test_reauth_moves_the_expiry_for_the_same_identity(bench: Bench) -> None:
    peer = await bench.joined()
    await beating(bench, peer, 200)
    later = bench.time.now_ms() + 300_000
    bench.renew("newer", of="ada", expires_at=later)
    assert (await peer.call("reauth", {"token": "newer"}))["token_expires_at"] == later
    await beating(bench, peer, 250)
    assert peer.wires.code is None
    assert len(peer.heard("auth_expiring")) == 1


@pytest.mark.parametrize(
    "changes",
    [{"subject": "2"}, {"role": "staff"}, {"session_id": "another"}, {"kind": "engine"}],
)
async def test_reauth_as_somebody_else_is_an_attempt_to_bypass(
    bench: Bench, changes: dict[str, Any]
) -> None:
    peer = await bench.joined()
    bench.renew("other", of="ada", **changes)
    assert (await peer.call("reauth", {"token": "other"}))["error"] == "AUTH_INVALID"
    assert bench.kinds() == ["auth_bypass_attempt"]
    seat = bench.hub.node.sessions[peer.session.id].sockets["/"].state
    assert seat.principal == bench.people["ada"]


async def test_reauth_of_a_login_that_ends_meanwhile_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await bench.joined()
    gates = Gates(monkeypatch)
    waiting = asyncio.create_task(peer.call("reauth", {"token": "ada"}))
    await settle()
    bench.guard.roster.end("user:1", None, now=bench.node.now())
    gates.opened.set()
    await waiting
    await settle()
    assert peer.answer(0)["error"] == "AUTH_INVALID"


async def test_reauth_of_a_socket_that_left_meanwhile_starts_no_timer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await bench.joined()
    gates = Gates(monkeypatch)
    waiting = asyncio.create_task(peer.call("reauth", {"token": "ada"}))
    await settle()
    seat = peer.session.sockets["/"].state
    peer.lose()
    gates.opened.set()
    await waiting
    await settle()
    assert seat.timers == {}


async def test_a_socket_grows_no_older_than_its_longest_life(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(socket_life_s=120)
    peer = await bench.joined()
    await beating(bench, peer, 119)
    assert peer.wires.code is None
    await bench.advance(1)
    assert (peer.wires.code, peer.heard("goodbye")[0]["reason"]) == (4401, "age")


# -- parting


async def test_who_leaves_gives_everything_back(bench: Bench) -> None:
    peer = await bench.joined()
    seat = peer.session.sockets["/"].state
    peer.lose()
    await settle()
    assert seat.timers == {}
    assert len(bench.guard.roster) == 0
    assert [action for action, _ in bench.audited] == ["socket_connected", "socket_disconnected"]


@pytest.mark.parametrize(("peer", "ip"), [("192.0.2.9", "192.0.2.9"), (None, None)])
async def test_the_audit_names_the_address_where_there_is_one(
    bench: Bench, peer: str | None, ip: str | None
) -> None:
    await bench.joined("ada", peer=peer)
    assert bench.audited[0][1]["ip"] == ip


async def test_a_connection_on_which_nothing_is_joined_any_more_may_not_stay(bench: Bench) -> None:
    peer = await bench.joined()
    peer.send("41")
    await bench.advance(4.9)
    assert peer.wires.code is None
    await bench.advance(0.1)
    assert peer.wires.code == 4408


async def test_who_joins_again_in_time_may_stay(bench: Bench) -> None:
    peer = await bench.joined()
    peer.send("41")
    await settle()
    await peer.connect()
    await bench.advance(5.0)
    assert peer.wires.code is None


async def test_our_own_messages_are_signed_in_the_other_direction(bench: Bench) -> None:
    peer = await bench.joined()
    socket = peer.session.sockets["/"]
    sealed = bench.hub.seal(socket, "notice", {"a": 1})
    sig = sealed.pop("sig")
    assert socket.state.sends.verify(type="notice", sig=sig, **sealed)
    assert not socket.state.receives.verify(type="notice", sig=sig, **sealed)


async def test_a_token_of_a_dropped_service_is_invalid_for_staff_to_see_why(bench: Bench) -> None:
    def resolve(_token: str, **_when: float) -> None:
        raise tokens.TokenInvalid("session_revoked")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "resolve", resolve)
        await bench.peer().connect("ada")
    assert (bench.incidents[0].code, bench.incidents[0].detail["reason"]) == (
        "AUTH_INVALID",
        "session_revoked",
    )


def test_a_refusal_of_a_connection_names_a_pause_where_there_is_one() -> None:
    from realtime.seating import connection_refused  # noqa: PLC0415 - a part of the module under test

    data = connection_refused(Refused("PENALTY", retry_after_ms=5)).data
    assert data is not None
    assert data["detail"] == {"retry_after_ms": 5}
