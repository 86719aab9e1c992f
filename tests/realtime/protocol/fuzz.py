"""``python -m tests.realtime.protocol.fuzz``: a million inputs that nobody sends by accident.

    python -m tests.realtime.protocol.fuzz --inputs 1000000 --seed 7 --json out.json

Each input is a frame, or the body of a POST, made of what the protocols are made of and then bent.
Prints a verdict as JSON. Exit code 0 without gaps: no input raised anything, every fault closed its
connection with a declared error as the last event, and a closed connection kept no state and heard
nothing more. 1 with the inputs that showed otherwise.
"""

import argparse
import json
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from realtime.protocol import Closed, Connection, ConnectReceived, Event, Limits, engineio
from realtime.protocol.errors import ProtocolError

__all__ = ["Fuzz"]

NAMESPACES = ("/", "/custom")
LIMITS = Limits(max_payload=2_000)
LONGEST_LIFE = 60  # inputs of one connection
SHOWN = 20  # gaps, of all that are counted

GOOD: tuple[engineio.Frame, ...] = (
    "40",
    '40{"token":"123"}',
    "40/custom,",
    "40/custom",
    '40/custom,{"a":[1]}',
    "41",
    "41/custom,",
    '42["e"]',
    '42["disconnecting"]',
    '42["e",1,"2",{"3":[true,null,1.5e3]}]',
    '4212["e","\\ud83d\\ude00"]',
    '42/custom,7["e"]',
    "430[]",
    '43/custom,0["a"]',
    '44{"message":"no"}',
    '451-["e",{"_placeholder":true,"num":0}]',
    '452-/custom,3["e",{"a":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]',
    '461-0[{"_placeholder":true,"num":0}]',
    '451-["e",{"_placeholder":true,"num":1}]',
    b"\x01\x02\x03",
    b"",
    "bAQIDBA==",
    "0",
    "1",
    "2",
    "2probe",
    "3",
    "4",
    "5",
    "6",
    "42[" + "[" * 40 + "]" * 40 + "]",
)
ATOMS = (
    *"0123456789-/,[]{}\":'\\ bB\x00\x1e\t\n",
    *("²", "\uff11", "é", "\ud800", "\ufeff", "😀"),
    *("_placeholder", '"num":', "true", "null", "NaN", "1e999", "-1", "9" * 17, "9007199254740993"),
    *(
        "connect",
        "disconnect",
        "newListener",
        "/custom,",
        "1-",
        "11-",
        "0-",
        "01-",
        "4",
        "42",
        "45",
    ),
)


class Fuzz:
    """One run; ``seed`` makes it the same again."""

    def __init__(self, seed: int) -> None:
        self.gaps: list[str] = []
        self.closed: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - the same again, not secret

    def run(self, inputs: int) -> int:
        """Feed so many inputs, to one connection after the other; returns how many connections."""
        left, connections = inputs, 0
        while left > 0:
            left -= self._live(min(left, LONGEST_LIFE))
            connections += 1
        return connections

    def _live(self, most: int) -> int:
        """The life of one connection; returns how many inputs it took."""
        connection = self._opened()
        for count in range(1, most + 1):
            polled = self._random.random() < 0.2
            given: Any = self._body() if polled else self._frame_for(connection)
            take = connection.receive_payload if polled else connection.receive_frame
            try:
                events = list(take(given, now=0.0))
            except Exception as error:  # noqa: BLE001 - what no input may bring about
                self.gaps.append(f"{given!r} raised {error!r}")
                return count
            self._note(connection, given, events)
            if connection.closed:
                self._look_at_remains(connection, given)
                return count
        return most

    def _opened(self) -> Connection:
        connection = Connection(sid="sid", limits=LIMITS, namespaces=set(NAMESPACES), now=0.0)
        for namespace in self._random.choice(((), ("/",), NAMESPACES)):
            connection.receive_frame("40" if namespace == "/" else f"40{namespace},", now=0.0)
            connection.accept(namespace, "id")
            connection.next_ack_id(namespace)
        return connection

    # -- what it does

    def _note(self, connection: Connection, given: object, events: Sequence[Event]) -> None:
        for event in events:
            self.events[type(event).__name__] += 1
            if isinstance(event, ConnectReceived) and not connection.closed:
                connection.accept(event.namespace, "id")
        closings = [each for each in events if isinstance(each, Closed)]
        if bool(closings) is not connection.closed or closings not in ([], list(events[-1:])):
            self.gaps.append(f"{given!r} gave {events!r}")
        for closed in closings:
            fault = closed.fault
            self.closed[fault.__name__ if fault else str(closed.reason)] += 1
            if fault is not None and not issubclass(fault, ProtocolError):
                self.gaps.append(f"{given!r} ended with {fault}")

    def _look_at_remains(self, connection: Connection, given: object) -> None:
        state = (connection._partial, connection._pending, connection._memberships)
        connection.frames_to_send()
        again = list(connection.receive_frame('42["e"]', now=0.0))
        if any(state) or again or connection.frames_to_send() or connection.wakes_at() is not None:
            self.gaps.append(f"{given!r} left {state!r}")

    # -- what it is given

    def _frame(self) -> engineio.Frame:
        return self._random.choice(self._makers)(self)

    def _frame_for(self, connection: Connection) -> engineio.Frame:
        """Mostly what is waited for, where something is: else few packets would be complete."""
        waits = connection._partial is not None
        return b"\x01" if waits and self._random.random() < 0.7 else self._frame()

    def _body(self) -> engineio.Frame:
        frames = [self._frame() for _ in range(self._random.randint(1, 4))]
        texts = [
            each if isinstance(each, str) else engineio.binary_as_text(each) for each in frames
        ]
        body = engineio.SEPARATOR.join(texts).encode("utf-8", "surrogatepass")
        return self._bent_bytes(body) if self._random.random() < 0.3 else body

    def _good(self) -> engineio.Frame:
        return self._random.choice(GOOD)

    def _bent(self) -> engineio.Frame:
        frame = self._good()
        if isinstance(frame, bytes):
            return self._bent_bytes(frame)
        for _ in range(self._random.randint(1, 3)):
            start, end = sorted(self._random.randint(0, len(frame)) for _ in range(2))
            middle = "" if self._random.random() < 0.3 else self._random.choice(ATOMS)
            kept = frame[end:] if self._random.random() < 0.5 else frame[start:]
            frame = frame[:start] + middle + kept
        return frame

    def _bent_bytes(self, data: bytes) -> bytes:
        at = self._random.randint(0, len(data))
        return data[:at] + self._random.randbytes(self._random.randint(0, 4)) + data[at + 1 :]

    def _strung(self) -> engineio.Frame:
        return "".join(self._random.choices(ATOMS, k=self._random.randint(0, 30)))

    def _message(self) -> engineio.Frame:
        return "4" + str(self._random.randint(0, 9)) + str(self._strung())

    def _large(self) -> engineio.Frame:
        size = LIMITS.max_payload + self._random.randint(-3, 3)
        return self._random.choice(("4" * size, b"x" * size, '42["' + "é" * (size // 2) + '"]'))

    _makers: tuple[Callable[["Fuzz"], engineio.Frame], ...] = (
        *(_good, _good, _good),
        *(_bent, _bent, _bent, _bent),
        *(_strung, _message, _message, _large),
    )


def main() -> int:
    """Run, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.realtime.protocol.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--json", type=Path, help="write the verdict here as well")
    options = parser.parse_args()
    fuzz, began = Fuzz(options.seed), time.monotonic()
    connections = fuzz.run(options.inputs)
    verdict = {
        "seed": options.seed,
        "inputs": options.inputs,
        "connections": connections,
        "seconds": round(time.monotonic() - began, 1),
        "events": dict(fuzz.events.most_common()),
        "closed_by": dict(fuzz.closed.most_common()),
        "gaps": len(fuzz.gaps),
        "shown": fuzz.gaps[:SHOWN],
    }
    text = json.dumps(verdict, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)
    return int(bool(fuzz.gaps))


if __name__ == "__main__":
    sys.exit(main())
