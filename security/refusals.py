"""Every way the hub says no: one table of codes, and the exception that carries one.

    Refused              a rule of the hub was not met; always the caller's fault, always recorded

Codes are contracts with clients. Three families share the table: refusals of a connection
(upper case), of a person's action (lower case), of an engine's or agent's message (upper case).
The violation's ``kind`` is the code in lower case unless the refusal names a finer one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Refused", "Rule", "Severity", "kind_severity", "rule"]

Severity = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a code means: the sentence for people, its cost, and whether trying again can help.

    ``points`` are charged to the violation budget of the socket and of its login session.
    """

    message: str
    points: int = 0
    severity: Severity = "low"
    retry: bool = False


RULES: Mapping[str, Rule] = {
    # -- connections
    "AUTH_REQUIRED": Rule("A token is needed to connect.", severity="medium"),
    "AUTH_INVALID": Rule("The token is not valid here.", severity="medium"),
    "AUTH_EXPIRED": Rule("The token has expired.", retry=True),
    "FORBIDDEN": Rule("This is not open to you.", points=3, severity="high"),
    "TOO_MANY_CONNECTIONS": Rule("Too many connections are open.", retry=True),
    "PENALTY": Rule("Too many refused messages; wait a while.", severity="medium", retry=True),
    # -- actions
    "malformed": Rule("The message does not have the agreed form.", points=1),
    "rate_limited": Rule("Too many messages; slow down.", retry=True),
    "unknown_type": Rule("There is no such type of action.", points=1),
    "timestamp_expired": Rule("The timestamp is outside the window.", points=1, retry=True),
    "invalid_signature": Rule("The signature does not match.", points=3, severity="high"),
    "replay_detected": Rule("This message was used before.", points=3, severity="high"),
    "payload_invalid": Rule("The payload is not acceptable JSON for this action."),
    "payload_too_large": Rule("The payload is too large."),
    "payload_too_complex": Rule("The payload is too deep or has too many parts."),
    "schema_validation_failed": Rule("The payload does not fit its schema."),
    "quota_exceeded": Rule("The quota is used up.", retry=True),
    "conflict": Rule("This contradicts what was said before."),
    "not_found": Rule("There is nothing of that name."),
    "forbidden": Rule("You may not do this.", points=3, severity="high"),
    "auth_expired": Rule("The token has expired.", retry=True),
    "try_again": Rule("The hub cannot do this right now; try again.", retry=True),
    "internal_error": Rule("The hub failed; this is our fault.", severity="high", retry=True),
    # -- engines and agents
    "ENGINE_PACKET_INCOMPLETE": Rule("The envelope does not have the agreed form.", points=1),
    "ENGINE_TIMESTAMP_EXPIRED": Rule("The timestamp is outside the window.", points=1, retry=True),
    "ENGINE_SIGNATURE_INVALID": Rule("The signature does not match.", points=3, severity="high"),
    "ENGINE_NONCE_REPLAY": Rule("This message was used before.", points=3, severity="high"),
    "PAYLOAD_INVALID": Rule("The payload does not have the agreed form."),
    "JOB_UNKNOWN": Rule("There is no such job."),
    "JOB_NOT_YOURS": Rule("The job belongs to another engine.", severity="medium"),
    "INVALID_TRANSITION": Rule("The job cannot make this move now."),
    "STALE_ATTEMPT": Rule("A newer attempt has taken over."),
    "LEASE_EXPIRED": Rule("The lease of this attempt is over."),
    "CONFLICTING_COMPLETION": Rule("The job was completed with another result.", severity="medium"),
    "PERSON_NOT_HERE": Rule("That person is in no room of yours."),
    "RATE_LIMITED": Rule("Too many messages; slow down.", retry=True),
    "TRY_AGAIN": Rule("The hub cannot do this right now; try again.", retry=True),
    # -- closes
    "heartbeat_missing": Rule("No heartbeat came in time.", retry=True),
    "slow_consumer": Rule("The messages were not read in time.", severity="medium", retry=True),
    # -- HTTP
    "invalid_credentials": Rule("The name or the password is wrong.", severity="medium"),
    "auth_invalid": Rule("The token is not valid here.", severity="medium"),
}

# Kinds that no code names, with their weight for staff.
KIND_SEVERITY: Mapping[str, Severity] = {
    "auth_bypass_attempt": "high",
    "origin_forbidden": "high",
    "token_in_url": "high",
    "refresh_reuse": "high",
    "budget_exceeded": "high",
}


class Refused(Exception):
    """The hub says no. Nothing was changed.

    ``detail`` is for staff (in the violation row), ``public`` for the client (in the answer).
    ``kind`` is set where the violation is finer than the code, and ``retry_after_ms`` where the
    hub knows when trying again can succeed. ``event_type`` and ``payload_sha256`` say which message
    it was about, once one could be read.
    """

    event_type = ""
    payload_sha256 = ""

    def __init__(
        self,
        code: str,
        *,
        reason: str = "",
        kind: str = "",
        message: str = "",
        detail: Mapping[str, object] | None = None,
        public: Mapping[str, object] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        self.code = code
        self.kind = kind or code.lower()
        self.reason = reason
        self.message = message or rule(code).message
        self.detail = {"reason": reason, **(detail or {})} if reason else dict(detail or {})
        self.public = dict(public or {})
        self.retry_after_ms = retry_after_ms
        super().__init__(code, reason)

    def __str__(self) -> str:
        return f"{self.code}: {self.reason or self.message}"


def rule(code: str) -> Rule:
    """The rule behind a code. Raises KeyError for a code that was never declared."""
    return RULES[code]


def kind_severity(kind: str, code: str) -> Severity:
    """How much a violation matters to staff."""
    return KIND_SEVERITY.get(kind) or rule(code).severity
