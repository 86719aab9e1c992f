"""What an agent may say to a person: one line of plain text, why, and about which action."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from realtime.enveloped import exactly
from security.refusals import Refused

__all__ = ["Hint"]

PERSON: Final = re.compile(r"[1-9][0-9]{0,18}")
REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
ACTION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Control, format (direction of the line), surrogate, private and unassigned characters, line ends.
ACTING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
JOINERS: Final = frozenset("\u200c\u200d")  # format characters that many scripts and emoji need


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A checked ``agent_update``. ``in_reply_to`` is an action's id, or empty."""

    user_id: str
    message: str
    reason: str
    in_reply_to: str = ""

    @classmethod
    def read(cls, payload: Mapping[str, Any], *, longest: int) -> "Hint":
        """The hint of a payload whose message has at most so many characters. Raises Refused."""
        exactly(payload, ("user_id", "message", "reason"), optional=("in_reply_to",))
        for name, form in (("user_id", PERSON), ("reason", REASON), ("in_reply_to", ACTION)):
            if name in payload and not _has_form(payload[name], form):
                raise Refused("PAYLOAD_INVALID", reason=name)
        if not _is_line(payload["message"], longest):
            raise Refused("PAYLOAD_INVALID", reason="message", detail={"longest": longest})
        return cls(**payload)

    def body(self, agent: str) -> dict[str, object]:
        """As the person gets it."""
        body: dict[str, object] = {"agent": agent, "message": self.message, "reason": self.reason}
        return {**body, "in_reply_to": self.in_reply_to} if self.in_reply_to else body


def _has_form(value: object, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _is_line(text: object, longest: int) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text) <= longest
        and not text.isspace()
        and all(each in JOINERS or unicodedata.category(each) not in ACTING for each in text)
    )
