"""Where a client stands in the events of several processes: the offset that each event carries.

Every process numbers its own events, and a process sends those of others out as they reach it. So
"all after the last one I saw" has no meaning of its own: two processes may send the same two events
in different orders. An offset therefore names its event, and how far the process that sent it had
come with each other process by then::

    <ms since 1970>.<process>.<number>[~<process>.<number>]...

The JavaScript client hands back the last one as it is. What it says is a claim: with a false one a
client can only choose what it is sent again, out of what was for it anyway.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from realtime.protocol import Frame

__all__ = ["LATE_MS", "Frontier", "Offset", "label", "offset_of"]

# Clocks of a site's machines, and the ways to a process, may differ by so much; more than that and
# a client that comes back is a new one, or misses what was late.
LATE_MS: Final = 5_000

_OFFSET: Final = re.compile(
    r"(\d{1,16})\.([\w-]{1,16})\.(\d{1,16})((?:~[\w-]{1,16}\.\d{1,16})*)", re.ASCII
)
_OTHER: Final = re.compile(r"~([\w-]+)\.(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Offset:
    """One event, and what its receiver has been sent by then. ``heard`` names its own process."""

    at_ms: int
    process: str
    number: int
    heard: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> "Offset | None":
        """Read what a client gave; None if it is no offset."""
        found = _OFFSET.fullmatch(text)
        if found is None:
            return None
        at_ms, process, number, others = found.groups()
        heard = {name: int(last) for name, last in _OTHER.findall(others)}
        return cls(int(at_ms), process, int(number), {**heard, process: int(number)})

    def covers(self, other: "Offset") -> bool:
        """Whether the event of another offset was sent before, or is this one."""
        return self.heard.get(other.process, -1) >= other.number

    def __str__(self) -> str:
        others = (f"~{name}.{last}" for name, last in self.heard.items() if name != self.process)
        return f"{self.at_ms}.{self.process}.{self.number}{''.join(others)}"


class Frontier:
    """How far one process has come with the events of each, itself included."""

    def __init__(self) -> None:
        self._heard: dict[str, int] = {}
        self._at_ms: dict[str, int] = {}

    def passed(self, process: str, number: int, at_ms: int) -> Offset:
        """Note an event that is about to be sent out; returns the offset to send it with.

        Whoever has been silent for long enough is left out: all of theirs is known to be older.
        """
        self._heard[process], self._at_ms[process] = number, at_ms
        for name in [each for each, last in self._at_ms.items() if last < at_ms - 2 * LATE_MS]:
            del self._heard[name], self._at_ms[name]
        return Offset(at_ms, process, number, dict(self._heard))


def offset_of(frames: Sequence[Frame]) -> Offset | None:
    """The offset at the end of an encoded event; None if it carries none."""
    text = frames[0]
    return Offset.parse(text[text.rfind('"', 0, -2) + 1 : -2]) if isinstance(text, str) else None


def label(frames: Sequence[Frame], offset: Offset) -> tuple[Frame, ...]:
    """The same event with another offset in the place of its own."""
    text = str(frames[0])
    return (f'{text[: text.rfind(chr(34), 0, -2) + 1]}{offset}"]', *frames[1:])
