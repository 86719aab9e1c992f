"""What can go wrong between an engine and the hub, and whose fault it is.

EngineError
|-- InvalidSecret      ours: the secret is not the text that the hub printed
|-- HubRefused         ours: the hub says no, and asking again will not help
|-- TryLater           the hub or the network cannot right now; the SDK tries again by itself
|   |-- HubUnreachable     no connection, no answer, or a server error
|   |-- LinkLost           the connection ended while an answer was awaited
|   '-- AckMissing         no acknowledgement in time
|-- SpecMismatch       the peer's: a world specification with another digest than announced
|-- AttemptOver        the hub took the attempt away; there is nobody to report to
|-- ReportRefused      ours: the hub does not take this report, but the attempt goes on
'-- JobFailed          raised by a handler to fail its job with a code of its own

BadMessage (of `realtime.envelopes`) never leaves the SDK: such messages are dropped and counted.
"""

import re
from typing import Final

from realtime.envelopes import BadMessage

__all__ = [
    "AckMissing",
    "AttemptOver",
    "BadMessage",
    "EngineError",
    "HubRefused",
    "HubUnreachable",
    "InvalidSecret",
    "JobFailed",
    "LinkLost",
    "ReportRefused",
    "SpecMismatch",
    "TryLater",
]


_ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class EngineError(Exception):
    """Anything the SDK raises."""


class InvalidSecret(EngineError, ValueError):
    """The secret is not 32 bytes in base64url without padding. The text itself is not kept."""

    def __str__(self) -> str:
        return "the engine's secret is not the text that the hub printed (base64url of 32 bytes)"


class HubRefused(EngineError):
    """The hub will not have this engine, this token request or this upload.

    `code` is the hub's own (docs/wire.md), or an HTTP status or close code as text.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"the hub refused: {self.code}" + (f" ({self.message})" if self.message else "")


class TryLater(EngineError):
    """Not now. `retry_after_s` is the hub's wish in seconds, 0 where it has none."""

    def __init__(self, code: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"not now: {self.code}"


class HubUnreachable(TryLater):
    """No connection, no answer, or a server error."""


class LinkLost(TryLater):
    """The connection ended before the hub answered; whether it heard is unknown."""

    def __init__(self) -> None:
        super().__init__("link_lost")


class AckMissing(TryLater):
    """The hub did not acknowledge in time; whether it heard is unknown."""

    def __init__(self) -> None:
        super().__init__("ack_missing")


class SpecMismatch(EngineError):
    """The bytes of a world specification do not have the digest that the job names."""

    def __init__(self, *, expected: str, seen: str) -> None:
        super().__init__(expected, seen)
        self.expected = expected
        self.seen = seen

    def __str__(self) -> str:
        return f"the world specification has the digest {self.seen}, not {self.expected}"


class AttemptOver(EngineError):
    """The attempt is not this engine's any more; `code` is the hub's reason."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"the attempt is over: {self.code}"


class ReportRefused(EngineError):
    """The hub refuses the content of a report; `code` is its reason."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"the hub does not take the report: {self.code}"


class JobFailed(EngineError):
    """Raise this in a handler to fail the job; `retryable` asks the hub for another attempt.

    Raises `ValueError` for a code that the hub would not take: 1 to 64 of A-Z a-z 0-9 _ . -
    """

    def __init__(self, code: str, message: str = "", *, retryable: bool = False) -> None:
        if not _ERROR_CODE.fullmatch(code):
            raise ValueError(f"an error's code is a short ASCII word, not {code!r}")
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retryable = retryable

    def __str__(self) -> str:
        return self.message or self.code
