"""Frames that no client library would send, and how the connection ends."""

from dataclasses import dataclass

Frame = str | bytes


@dataclass(frozen=True)
class Framing:
    """What is sent by somebody who has joined "/"; the close code and the kind of the record."""

    name: str
    frames: tuple[Frame, ...]
    code: int = 4400
    kind: str = "malformed"
    count: int = 1


def text(name: str, *frames: Frame) -> Framing:
    return Framing(name, frames)


UNKNOWN = ("7", "8x", "9[]", "a", " ", "\u00b2", "\uff14")  # with superscript and full-width digits

FRAMINGS = [
    text("an empty frame", ""),
    *(text(f"unknown Engine.IO type {each}", each) for each in UNKNOWN),
    text("a ping of ours", "2"),
    *(text(f"unknown Socket.IO type {each}", f"4{each}") for each in UNKNOWN),
    text("an empty message", "4"),
    text("an event without data", "42"),
    *(
        text(f"an event that is {each[:12]}", f"42{each}")
        for each in (
            "{}", "[]", "null", '"x"', "5", "[null]", "[{}]", "[[]]", "[true]", "[", '["action"',
        )
    ),
    *(
        text(f"the reserved event {each}", f'42["{each}"]')
        for each in (
            "connect", "connect_error", "disconnect", "disconnecting", "newListener",
            "removeListener",
        )
    ),
    *(
        text(f"the acknowledgement id {each[:24]}", f'42{each}["action",{{}}]')
        for each in ("9" * 16, "9" * 1_000, "\u0661", "\uff11", "-1", "1.5", "+1", "0x1")
    ),
    text("an acknowledgement without an id", "43[]"),
    text("an acknowledgement that is no list", "431{}"),
    *(
        text(f"an attachment count of {each[:8]}", f'45{each}["x",{{"_placeholder":true,"num":0}}]')
        for each in ("0-", "-1-", "11-", "9" * 30 + "-", "\u00b2-", "x-", "", "1")
    ),
    Framing(
        "text where an attachment is due",
        ('451-["x",{"_placeholder":true,"num":0}]', "42[]"),
        count=2,  # the binary event, and that nothing followed it
    ),
    text("an attachment that nobody announced", b"\0"),
    text("binary in the shape of a packet", b'42["action"]'),
    text("a second CONNECT", "40"),
    text("a CONNECT_ERROR", '44{"message":"no"}'),
    text("a CONNECT that is a list", "40/engine,[]"),
    text("a DISCONNECT with data", "41{}"),
    text("an event for a namespace not joined", '42/engine,["engine_ready",{}]'),
    text("an event for no namespace of ours", '42/nowhere,["x"]'),
    text("JSON of depth 100,000", "42" + "[" * 100_000),
    text("a lone surrogate", '42["\\ud800"]'),
    text("NaN", '42["action",NaN]'),
    Framing("a million bytes and one", ("4" + "x" * 1_000_000,), 1009, "payload_too_large"),
]  # fmt: skip

# Frames that change nothing: ignored, or answered without any record.
HARMLESS: list[tuple[str, tuple[Frame, ...]]] = [
    ("a pong that nobody asked for", ("3",)),
    ("a pong with data", ("3probe",)),
    ("a noop", ("6",)),
    ("an upgrade of a WebSocket", ("5",)),
    ("an open packet", ('0{"sid":"x"}',)),
    ("an acknowledgement that was never asked for", ("430[]", "4399[]")),
    ("a namespace that does not exist", ("40/nowhere,",)),
    ("pongs by the thousand", ("3",) * 2_000),
]

# Before anybody has joined.
TOO_EARLY = [
    text("an event before CONNECT", '42["action",{}]'),
    text("an acknowledgement before CONNECT", "430[]"),
    text("a DISCONNECT before CONNECT", "41"),
    text("binary before CONNECT", b"\0"),
]
