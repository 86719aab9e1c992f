"""Hostile messages of somebody who is signed in: what is sent, and how it is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from security.signatures import to_base64url
from tests.hostile.raw import Member
from tests.hostile.stage import Stage

Envelope = dict[str, Any]
Forge = Callable[[Stage, Member], object]

STOLEN = to_base64url(b"s" * 32)


@dataclass(frozen=True)
class Message:
    """What is sent as ``action``; the genuine message that follows must still be accepted."""

    name: str
    forge: Forge
    error: str


def changed(name: str, error: str, **fields: object) -> Message:
    """A genuine message in which fields were replaced after the signing."""
    return Message(name, lambda _stage, who: {**who.sign("click", {"x": 1}), **fields}, error)


def spoiled(name: str, field: str, spoil: Callable[[Any], object], error: str) -> Message:
    def forge(_stage: Stage, who: Member) -> Envelope:
        envelope = who.sign("click", {"x": 1})
        return {**envelope, field: spoil(envelope[field])}

    return Message(name, forge, error)


def without(field: str) -> Message:
    def forge(_stage: Stage, who: Member) -> Envelope:
        return {key: value for key, value in who.sign("click").items() if key != field}

    return Message(f"without {field}", forge, "malformed")


def misplaced(name: str, **where: Any) -> Message:
    """A message that was signed for another place."""
    return Message(
        f"signed for {name}",
        lambda _stage, who: who.sign("click", key=who.key_for(**where)),
        "invalid_signature",
    )


def signed(name: str, error: str, **fields: Any) -> Message:
    """A message that was truly signed with these fields."""
    return Message(name, lambda _stage, who: who.sign(**{"kind": "click", **fields}), error)


def at(name: str, error: str, offset_ms: int) -> Message:
    return Message(name, lambda _stage, who: who.sign("click", ts=who.now_ms() + offset_ms), error)


def shifted(_stage: Stage, who: Member) -> Envelope:
    """The boundary between nonce and ts moved: the same characters in another order."""
    envelope = who.sign("click")
    digits = str(envelope["ts"])
    return {**envelope, "ts": int(digits[:-1]), "nonce": digits[-1] + envelope["nonce"]}


def payload(name: str, text: str, error: str = "payload_invalid") -> Message:
    return Message(f"payload {name}", lambda _stage, who: who.sign("click", text), error)


SIGNATURES = [
    *(without(field) for field in ("type", "payload", "ts", "nonce", "sig")),
    changed("an empty signature", "malformed", sig=""),
    spoiled("a short signature", "sig", lambda sig: sig[:-1], "malformed"),
    spoiled("a long signature", "sig", lambda sig: sig + "0", "malformed"),
    spoiled("an upper-case signature", "sig", lambda sig: "A" + sig[1:], "malformed"),
    changed("a signature of other characters", "malformed", sig="\uff10" * 64),
    changed("a signature in a list", "malformed", sig=["0" * 64]),
    changed("a signature of zeros", "invalid_signature", sig="0" * 64),
    spoiled("a changed payload", "payload", lambda _text: '{"x":2}', "invalid_signature"),
    spoiled("a space after the payload", "payload", lambda text: text + " ", "invalid_signature"),
    changed("a changed type", "invalid_signature", type="inspect"),
    changed("a payload that is an object", "malformed", payload={"x": 1}),
    changed("a key more", "malformed", role="staff"),
    changed("a user id more", "malformed", user_id="1"),
    Message("ts and nonce shifted", shifted, "timestamp_expired"),
    Message("a list", lambda _stage, who: [who.sign("click")], "malformed"),
    Message("nothing", lambda _stage, _who: None, "malformed"),
    misplaced("the other direction", direction="s2c"),
    misplaced("another namespace", namespace="/engine"),
    misplaced("another principal", principal="user:1"),
    misplaced("an engine of the same name", principal="engine:1"),
    misplaced("another socket", sid="x" * 20),
    misplaced("a guessed secret", secret=STOLEN),
    Message(
        "signed with an engine's secret",
        lambda stage, who: who.sign("click", key=who.key_for(secret=stage.engine()["secret"])),
        "invalid_signature",
    ),
    Message(
        "signed with another person's secret",
        lambda stage, who: who.sign(
            "click", key=who.key_for(secret=stage.cast["person1"]["secret"])
        ),
        "invalid_signature",
    ),
    Message(
        "signed with another login's secret",
        lambda stage, who: who.sign(
            "click", key=who.key_for(secret=stage.cast["person1-elsewhere"]["secret"])
        ),
        "invalid_signature",
    ),
]  # fmt: skip

TYPES = [
    signed("an unknown type", "unknown_type", kind="fly"),
    signed("a job's type", "unknown_type", kind="build_scene"),
    signed("a type with a homoglyph", "malformed", kind="cl\u0456ck"),
    signed("a type in capitals", "malformed", kind="CLICK"),
    signed("a type with a newline", "malformed", kind="click\n"),
    signed("a type with a space", "malformed", kind=" click"),
    signed("an engine's event", "unknown_type", kind="job_completed"),
    changed("a type that is a number", "malformed", type=5),
]

# The edges themselves are tested at the gate with a pushed clock; here is a margin for the network.
TIMES = [
    at("too late", "timestamp_expired", -17_000),
    at("too early", "timestamp_expired", 17_000),
    Message(
        "seconds for milliseconds",
        lambda _stage, who: who.sign("click", ts=who.now_ms() // 1000),
        "timestamp_expired",
    ),
    signed("time zero", "timestamp_expired", ts=0),
    signed("the last safe integer", "timestamp_expired", ts=2**53 - 1),
    signed("2^53", "malformed", ts=2**53),
    signed("2^63", "malformed", ts=2**63 - 1),
    changed("more than 64 bits", "malformed", ts=2**70),
    changed("a negative time", "malformed", ts=-1),
    spoiled("time as text", "ts", str, "malformed"),
    spoiled("time with a fraction", "ts", float, "malformed"),
    changed("true as time", "malformed", ts=True),
    changed("no time", "malformed", ts=None),
]

NONCES = [
    signed("a short nonce", "malformed", nonce="n" * 21),
    signed("a long nonce", "malformed", nonce="n" * 65),
    signed("a nonce that is not ASCII", "malformed", nonce="\u00e9" * 22),
    signed("a nonce with a bar", "malformed", nonce="n" * 21 + "|"),
    signed("a nonce with NUL", "malformed", nonce="n" * 21 + "\0"),
    signed("a nonce with a newline", "malformed", nonce="n" * 22 + "\n"),
    changed("a nonce that is a number", "malformed", nonce=10**30),
]

DEEP = "[" * 100_000
PAYLOADS = [
    payload("of depth 17", "[" * 17 + "]" * 17, "payload_too_complex"),
    payload("with a key twice", '{"a":1,"a":2}'),
    payload("with a byte order mark", "\ufeff{}"),
    payload("with data behind it", "{} {}"),
    payload("that is empty", ""),
    payload("NaN", "NaN"),
    payload("Infinity", '{"x":-Infinity}'),
    payload("of 1e999", '{"x":1e999}'),
    payload("of 2^53", '{"x":9007199254740992}'),
    payload("with half a surrogate pair", '{"x":"\\ud800"}'),
    payload("with NUL", '{"x":"\\u0000"}'),
    payload("that is a list", "[]"),
    payload("that is a number", "5"),
    payload("of Python", "{'x': None}"),
    payload("of 8 KiB and one", '"' + "x" * 8_191 + '"', "payload_too_large"),
    payload("of depth 100,000", DEEP, "payload_too_large"),
    payload("of 5,000 long keys", str({f"key{n}": n for n in range(5_000)}), "payload_too_large"),
]

MESSAGES = [*SIGNATURES, *TYPES, *TIMES, *NONCES, *PAYLOADS]

HOSTILE_TEXTS: Mapping[str, str] = {
    "markup": "<script>alert(1)</script>",
    "ansi": "\x1b[31mred",
    "lines": "a\r\nb",
    "direction": "\u202etxt.exe",
    "formula": "=cmd()|' /C calc'!A0",
}
