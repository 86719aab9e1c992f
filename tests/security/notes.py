"""The smallest draft of a record, for tests of the recorder and of what reads its chains."""

from collections.abc import Hashable
from dataclasses import dataclass

from security.clock import moment
from security.models import AuditEntry, Record, Violation
from security.recorder import Tally

__all__ = ["AT", "Note"]

AT = 1_760_000_000_000


@dataclass(frozen=True)
class Note:
    """An audit entry, or a violation with a count."""

    name: str
    at_ms: int = AT
    model: type[Record] = Violation

    @property
    def tally_key(self) -> Hashable:
        return self.name

    @property
    def crowd_key(self) -> Hashable:
        return "crowd"

    def row(self) -> Record:
        if self.model is AuditEntry:
            return AuditEntry(at=moment(self.at_ms), action=self.name)
        at = moment(self.at_ms)
        return Violation(
            at=at, kind=self.name, first_at=at, last_at=at, ip="2001:db8::1", detail={"n": 1}
        )

    def rolled_up(self, tally: Tally) -> Record:
        row = self.row()
        assert isinstance(row, Violation)
        row.kind = "crowd" if tally.crowded else self.name
        row.count = tally.count
        row.first_at, row.last_at = moment(tally.first_ms), moment(tally.last_ms)
        return row
