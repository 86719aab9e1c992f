"""Hostile agents: a genuine account that says what it must not, and others who want in."""

from collections.abc import Callable
from typing import Any

from tests.hostile.cases_connect import Connect
from tests.hostile.cases_engines import Trick, said
from tests.hostile.raw import Member
from tests.hostile.stage import Stage

HINT = {"user_id": "999999", "message": "Hello.", "reason": "greeting"}
BODIES: dict[str, dict[str, Any]] = {
    "agent_heartbeat": {},
    "agent_update": HINT,
    "reauth": {"token": "x"},
}
NONCE = "Y" * 43
INCOMPLETE, INVALID = "ENGINE_PACKET_INCOMPLETE", "ENGINE_SIGNATURE_INVALID"


def tricks(event: str) -> list[Trick]:
    """What can be wrong with the envelope of any event."""
    body = BODIES[event]
    other = "agent_update" if event == "agent_heartbeat" else "agent_heartbeat"

    def unsigned(_stage: Stage, who: Member) -> object:
        return {key: each for key, each in who.sign(event, body).items() if key != "sig"}

    def by(name: str) -> Callable[[Stage, Member], object]:
        return lambda stage, who: who.sign(
            event, body, key=who.key_for(secret=stage.cast[name]["secret"])
        )

    return [
        Trick(f"{event} unsigned", event, unsigned, INCOMPLETE),
        Trick(f"{event} bare", event, lambda _stage, _who: body, INCOMPLETE),
        Trick(f"{event} by another agent's key", event, by("deaf"), INVALID),
        Trick(f"{event} by an engine's key", event, by("engine0"), INVALID),
        Trick(f"{event} by a person's key", event, by("person0"), INVALID),
        Trick(
            f"{event} with the key of /engine",
            event,
            lambda _stage, who: who.sign(event, body, key=who.key_for(namespace="/engine")),
            INVALID,
        ),
        Trick(
            f"{event} signed as {other}", event, lambda _stage, who: who.sign(other, body), INVALID
        ),
        Trick(
            f"{event} in our own direction",
            event,
            lambda _stage, who: who.sign(event, body, key=who.sends),
            INVALID,
        ),
        Trick(
            f"{event} too late",
            event,
            lambda _stage, who: who.sign(event, body, ts=who.now_ms() - 33_000),
            "ENGINE_TIMESTAMP_EXPIRED",
        ),
    ]


TRICKS = [trick for event in BODIES for trick in tricks(event)]

CONTENTS = [
    *(
        said(f"with payload {text[:10]}", event, text, "PAYLOAD_INVALID")
        for event in BODIES
        for text in ("[]", "null", "{", '{"a":1,"a":2}')
    ),
    *(
        said("with a key more", event, {**BODIES[event], "agent": "x"}, "PAYLOAD_INVALID")
        for event in BODIES
    ),
    *(
        said(
            f"saying {words[:12]!r}", "agent_update", {**HINT, "message": words}, "PAYLOAD_INVALID"
        )
        for words in ("", "x" * 501, "two\nlines", "\x1b[31m", "\u202eback", "nul\0")
    ),
    *(
        said(f"to {user_id!r}", "agent_update", {**HINT, "user_id": user_id}, "PAYLOAD_INVALID")
        for user_id in (1, "0", "1 OR 1=1", None, ["1"], "hub:staff")
    ),
    said("to nobody", "agent_update", HINT, "PERSON_NOT_HERE"),
    said("with 9 KiB", "agent_update", {**HINT, "message": "x" * 9_000}, "PAYLOAD_INVALID"),
    Trick(
        "reauth as another agent",
        "reauth",
        lambda stage, who: who.sign("reauth", {"token": stage.cast["deaf"]["token"]}),
        "auth_bypass_attempt",
    ),
]

UNKNOWN_EVENTS = ("action", "action_update", "engine_ready", "job_completed", "room_join", "*", 5)


def shows(name: str, token_of: str, namespace: str, **more: object) -> Connect:
    """Somebody's token on a namespace that is not theirs."""
    return Connect(
        name,
        lambda stage, _who: {"token": stage.cast[token_of]["token"], **more},
        namespace=namespace,
    )


CONNECTS = [
    shows("a person on /agent", "person0", "/agent", client_nonce=NONCE),
    shows("an engine on /agent", "engine0", "/agent", client_nonce=NONCE),
    shows("an agent on /", "agent0", "/", client_nonce=NONCE),
    shows("an agent on /engine", "agent0", "/engine", client_nonce=NONCE),
    shows("no client nonce on /agent", "agent0", "/agent"),
    shows("a short client nonce on /agent", "agent0", "/agent", client_nonce="x"),
]
