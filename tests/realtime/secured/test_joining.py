"""Who may join a namespace behind the gate, what a session brings, and how a bad CONNECT ends."""

import json

import pytest
from django.db import OperationalError

from security import database, sessions, tokens
from security.refusals import Refused
from security.signatures import MessageKey, from_base64url, socket_key, to_base64url
from tests.realtime.guarded import Bench, Gates, settle

NONCE_32 = to_base64url(b"n" * 32)


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


async def test_who_was_shut_out_by_staff_is_told_for_how_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(_token: str, **_when: float) -> None:
        raise sessions.PrincipalBlocked(700)

    monkeypatch.setattr(sessions, "resolve", resolve)
    refusal = (await bench.peer().connect("ada"))["data"]
    assert (refusal["code"], refusal["detail"]) == ("PENALTY", {"retry_after_ms": 700})
    assert bench.incidents[0].detail["reason"] == "blocked"
    assert len(bench.guard.roster) == 0


def test_a_refusal_of_a_connection_names_a_pause_where_there_is_one() -> None:
    from realtime.seating import connection_refused  # noqa: PLC0415 - a part of the module under test

    data = connection_refused(Refused("PENALTY", retry_after_ms=5)).data
    assert data is not None
    assert data["detail"] == {"retry_after_ms": 5}
