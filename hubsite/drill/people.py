"""Scenarios of handshakes, tokens and people's messages (docs/security.md)."""

import asyncio
import base64
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

import orjson

from hubsite.drill.cast import LocalCast
from hubsite.drill.stage import Play, Scenario, Stage
from hubsite.drill.wire import Actor, Member, Wire, fetch, handshake_status
from security.conf import hub

__all__ = ["PEOPLE"]

Envelope = dict[str, Any]
Forge = Callable[[Member], Envelope]
OLD_S: Final = 600.0
LATE_MS: Final = 5_000
WORLD: Final = "static/realtime/worlds/forest.json"
EVIL: Final = "https://evil.example"


# Handshakes.


def _origin(name: str, origin: str) -> Scenario:
    return Scenario(
        control="origin",
        name=name,
        expected="HTTP 403",
        kind="origin_forbidden",
        play=lambda stage: handshake_status(stage.url, origin=origin),
    )


async def _polling_from_afar(stage: Stage) -> str:
    address = f"{stage.url}/socket.io/?EIO=4&transport=polling"
    status, _ = await fetch(address, headers={"Origin": EVIL})
    return f"HTTP {status}"


async def _token_in_url(stage: Stage) -> str:
    actor = await stage.person()
    return await handshake_status(stage.url, query=f"&token={actor.token}")


# Tokens.


def _connect(
    name: str, change: Callable[[Actor], object], expected: str = "AUTH_INVALID", kind: str = ""
) -> Scenario:
    async def play(stage: Stage) -> str:
        return await stage.connect(change(await stage.person()))

    return Scenario(
        control="token", name=name, expected=expected, kind=kind or expected.lower(), play=play
    )


def _unsigned(actor: Actor) -> object:
    claims = actor.token.split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return {"token": f"{header}.{claims}."}


def _tampered(actor: Actor) -> object:
    """The same signature below claims that end an hour later."""
    header, claims, signature = actor.token.split(".")
    said = orjson.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    text = (
        base64.urlsafe_b64encode(orjson.dumps({**said, "exp": said["exp"] + 3_600}))
        .decode()
        .rstrip("=")
    )
    return {"token": f"{header}.{text}.{signature}"}


async def _expired(stage: Stage) -> str:
    cast = _local(stage)
    return await stage.connect(
        {"token": (await cast.person_at(OLD_S + hub().access_token_s)).token}
    )


async def _revoked(stage: Stage) -> str:
    cast = _local(stage)
    actor = await cast.person()
    await cast.end_sessions()
    return await stage.connect({"token": actor.token})


async def _engines_token(stage: Stage) -> str:
    actor = await stage.cast.engine()
    return await stage.connect({"token": actor.token if actor else ""})


async def _logged_out(stage: Stage) -> str:
    """A live socket of a session that is revoked must close."""
    actor = await stage.person()
    wire = await Wire.open(stage.url)
    try:
        await wire.join({"token": actor.token})
        body = {"refresh": actor.refresh}
        await fetch(f"{stage.url}/api/token/revoke/", "POST", body=body)
        return f"closed {await wire.closed()}"
    except TimeoutError:
        return "still open"
    finally:
        await wire.close()


async def _event_before_connect(stage: Stage) -> str:
    wire = await Wire.open(stage.url)
    try:
        await wire.send('42["action",{}]')
        return f"closed {await wire.closed()}"
    except TimeoutError:
        return "still open"
    finally:
        await wire.close()


def _local(stage: Stage) -> LocalCast:
    if not isinstance(stage.cast, LocalCast):  # such scenarios are not tried with another
        raise TypeError(stage.cast)
    return stage.cast


# Messages.


def _deed(control: str, name: str, expected: str, forge: Forge) -> Scenario:
    """A bad message is refused, and a good one behind it is taken."""

    async def play(stage: Stage) -> str:
        async with await stage.member() as member:
            seen = await member.act(forge(member))
            after = await member.act(member.sign("emote"))
        return seen if after == "ok" else f"{seen}, then {after}"

    return Scenario(control=control, name=name, expected=expected, kind=expected, play=play)


def _good(member: Member, **changes: Any) -> Envelope:  # noqa: ANN401 - wire data
    return {**member.sign("click", {"x": 1}), **changes}


def _without(member: Member, key: str) -> Envelope:
    return {name: value for name, value in _good(member).items() if name != key}


def _signed_apart(member: Member, apart_ms: int) -> Envelope:
    """Signed by a clock that is off by the window and some more."""
    drift_ms = int(member.session["drift_ms"])
    off_ms = apart_ms + (drift_ms if apart_ms > 0 else -drift_ms)
    return member.sign("click", ts=member.now_ms() + off_ms)


def _own_jobs(member: Member) -> Envelope:
    """A world that is right, with jobs beside it that only the hub may make."""
    world = resources.files("realtime").joinpath(WORLD).read_bytes()
    payload = {"spec": orjson.loads(world), "jobs": [{"job_id": "x", "status": "completed"}]}
    return member.sign("generate_world", payload)


def _one_bit(member: Member) -> Envelope:
    envelope = _good(member)
    flipped = int(envelope["sig"], 16) ^ 1
    return {**envelope, "sig": f"{flipped:064x}"}


async def _genuine(stage: Stage) -> str:
    async with await stage.member() as member:
        return await member.act(_good(member))


async def _twice(stage: Stage) -> str:
    async with await stage.member() as member:
        envelope = _good(member)
        first, second = await member.act(envelope), await member.act(envelope)
        return f"{first}, then {second}"


async def _racers(stage: Stage) -> str:
    async with await stage.member() as member:
        envelope = _good(member)
        answers = await asyncio.gather(*(member.act(envelope) for _ in range(3)))
        return f"{answers.count('ok')} of 3 taken"


async def _from_another_socket(stage: Stage) -> str:
    async with await stage.member() as one, await stage.member() as other:
        return await other.act(_good(one))


async def _flood(stage: Stage) -> str:
    async with await stage.member() as member:
        sent = 2 * int(member.session["limits"]["burst"])
        answers = await asyncio.gather(*(member.act(member.sign("scroll")) for _ in range(sent)))
        return "rate_limited" if "rate_limited" in answers else f"{sent} taken"


async def _budget(stage: Stage) -> str:
    """Refusals in a row: the socket is closed, and its login rests."""
    actor = await stage.person()
    wire = await Wire.open(stage.url)
    try:
        await wire.join({"token": actor.token})
        await wire.send(*('42["action",{}]' for _ in range(20)))
        code = await wire.closed()
    except TimeoutError:
        return "still open"
    finally:
        await wire.close()
    return f"closed {code}, then {await stage.connect({'token': actor.token})}"


async def _too_large_a_frame(stage: Stage) -> str:
    async with await stage.member() as member:
        size = int(member.session["limits"]["max_payload"])
        await member.wire.send("42" + "x" * size)
        try:
            return f"closed {await member.wire.closed()}"
        except TimeoutError:
            return "still open"


async def _binary(stage: Stage) -> str:
    async with await stage.member() as member:
        await member.wire.send(b"\0\1\2")
        try:
            return f"closed {await member.wire.closed()}"
        except TimeoutError:
            return "still open"


# HTTP.


async def _no_token(stage: Stage) -> str:
    status, _ = await fetch(f"{stage.url}/api/builds/")
    return f"HTTP {status}"


async def _large_body(stage: Stage) -> str:
    status, _ = await fetch(f"{stage.url}/api/token/", "POST", body=b'"' + b"x" * hub().http_body)
    return f"HTTP {status}"


async def _guesses(stage: Stage) -> str:
    """Passwords for a name that nobody has, so that nobody is locked out."""
    body = {"username": "drill-nobody", "password": "guess"}
    for _ in range(hub().login_failures + 2):
        status, said = await fetch(f"{stage.url}/api/token/", "POST", body=body)
        if status == 429:  # noqa: PLR2004 - Too Many Requests
            return str(said.get("code"))
    return "every guess was answered"


def _plain(
    control: str, name: str, expected: str, play: Play, *, kind: str = "", local: bool = False
) -> Scenario:
    return Scenario(
        control=control, name=name, expected=expected, kind=kind, play=play, local=local
    )


DEEP: Final = "[" * 20 + "]" * 20
PEOPLE: Final = (
    _origin("a page of another site", EVIL),
    _origin("a page without an origin of its own", "null"),
    _origin("a name that begins like the hub's", "http://127.0.0.1.evil.example"),
    _plain("origin", "polling from another site", "HTTP 403", _polling_from_afar,
           kind="origin_forbidden"),
    _plain("token in url", "a token in the address", "HTTP 403", _token_in_url,
           kind="token_in_url"),
    _connect("no token", lambda _actor: {}, "AUTH_REQUIRED"),
    _connect("not a token", lambda _actor: {"token": "x.y.z"}),
    _connect("a list", lambda actor: {"token": [actor.token]}),
    _connect("alg none", _unsigned),
    _connect("a claim changed below its signature", _tampered),
    _connect("padding after it", lambda actor: {"token": actor.token + "="}),
    _connect("a refresh token", lambda actor: {"token": actor.refresh}),
    _connect("claims beside it", lambda actor: {"token": actor.token, "simulated": True},
             kind="auth_bypass_attempt"),
    _plain("token", "ten minutes behind its expiry", "AUTH_EXPIRED", _expired,
           kind="auth_expired", local=True),
    _plain("token", "of an engine", "AUTH_INVALID", _engines_token, kind="auth_invalid",
           local=True),
    _plain("revocation", "connect after all logins were ended", "AUTH_INVALID", _revoked,
           kind="auth_invalid", local=True),
    _plain("revocation", "log out with an open socket", "closed 4401", _logged_out),
    _plain("framing", "an event before CONNECT", "closed 4400", _event_before_connect,
           kind="malformed"),
    _plain("framing", "a frame over the limit", "closed 1009", _too_large_a_frame,
           kind="payload_too_large"),
    _plain("framing", "bytes that nobody announced", "closed 4400", _binary, kind="malformed"),
    _plain("signature", "a genuine message", "ok", _genuine),
    _deed("signature", "one bit of it flipped", "invalid_signature", _one_bit),
    _deed("signature", "another payload", "invalid_signature",
          lambda member: _good(member, payload='{"x":2}')),
    _deed("signature", "another type", "invalid_signature",
          lambda member: _good(member, type="emote")),
    _plain("signature", "the message of another socket", "invalid_signature",
           _from_another_socket, kind="invalid_signature"),
    _deed("envelope", "no signature", "malformed", lambda member: _without(member, "sig")),
    _deed("envelope", "a key more", "malformed", lambda member: _good(member, user_id=1)),
    _deed("envelope", "true for a timestamp", "malformed", lambda member: _good(member, ts=True)),
    _deed("envelope", "a signature in capitals", "malformed",
          lambda member: _good(member, sig="A" * 64)),
    _deed("type", "an action that does not exist", "unknown_type",
          lambda member: member.sign("make_me_staff")),
    _deed("window", "signed 5 s before the window", "timestamp_expired",
          lambda member: _signed_apart(member, -LATE_MS)),
    _deed("window", "signed 5 s behind the window", "timestamp_expired",
          lambda member: _signed_apart(member, LATE_MS)),
    _plain("replay", "a message sent twice", "ok, then replay_detected", _twice,
           kind="replay_detected"),
    _plain("replay", "three at once", "1 of 3 taken", _racers, kind="replay_detected"),
    _deed("payload", "a key twice", "payload_invalid",
          lambda member: member.sign("click", '{"a":1,"a":2}')),
    _deed("payload", "no JSON number", "payload_invalid",
          lambda member: member.sign("click", '{"a":NaN}')),
    _deed("payload", "twenty levels deep", "payload_too_complex",
          lambda member: member.sign("click", f'{{"a":{DEEP}}}')),
    _deed("payload", "larger than an action may be", "payload_too_large",
          lambda member: member.sign("click", {"a": "x" * hub().action_payload})),
    _deed("rights", "a job of its own making", "schema_validation_failed",
          _own_jobs),
    _deed("rights", "a build that is not one's own", "not_found",
          lambda member: member.sign("build_cancel", {"build_id": "bld_nobody"})),
    _plain("rate", "twice the burst at once", "rate_limited", _flood, kind="rate_limited"),
    _plain("budget", "twenty refusals in a row", "closed 4429, then PENALTY", _budget,
           kind="budget_exceeded"),
    _plain("http", "the API without a token", "HTTP 401", _no_token, kind="auth_invalid"),
    _plain("http", "a body over the limit", "HTTP 413", _large_body, kind="payload_too_large"),
    _plain("login", "guesses at a password, two too many", "rate_limited", _guesses,
           kind="rate_limited"),
)  # fmt: skip
"""In the order in which they are played."""
