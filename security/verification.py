"""Reads the records back: is each chain whole, and does it still reach as far as was anchored?

Every chain is walked once, by the numbers of its rows, from its newest checkpoint or its first row.
The first fault of a chain is named; behind it nothing can be said about that chain. Rows that no
anchor covers yet (the last minute of a writer, or what a killed process left) are only counted: a
cut or an addition there shows nowhere (docs/security.md).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from django.conf import settings
from django.db.models import QuerySet

from security import anchors, chain
from security.models import Anchor, Checkpoint, Mark, Record
from security.recorder import CHAINED, canonical_row

__all__ = ["Chain", "Fault", "Finding", "Report", "cut_chains", "verify"]

Fault = Literal["changed", "missing", "inserted", "cut", "forged"]

PAGE: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The first fault of a chain. ``row_id`` is the row at fault, None where it is none."""

    table: str
    writer: str
    fault: Fault
    row_id: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.table} chain {self.writer}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was looked at, and what was wrong.

    ``unanchored`` rows have no anchor yet. ``unreadable`` names lines of anchor files that are no
    anchors, as a power failure leaves one. ``unverifiable`` names marks that were signed with a
    master key which is no longer in the ring, where no later mark proves as much.
    """

    rows: int
    chains: int
    anchors: int
    unanchored: int
    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...]
    unverifiable: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.findings


@dataclass(slots=True, kw_only=True)
class Chain:
    """One chain while it is walked: where it is, what was said about it, and its first fault."""

    model: type[Record]
    writer: str
    head: str = chain.GENESIS
    start_id: int = 0
    last_id: int = 0
    rows: int = 0
    anchored_id: int = 0
    unanchored: int = 0
    checkpoint: Checkpoint | None = None
    marks: list[Anchor] = field(default_factory=list)
    finding: Finding | None = None
    passed: int = 0

    def begin(self) -> None:
        """Take the place of the newest checkpoint, and put the anchors in the order of the rows."""
        if self.checkpoint is not None:
            self.start_id = self.last_id = self.anchored_id = self.checkpoint.last_id
            self.head = self.checkpoint.hash
        self.marks.sort(key=lambda mark: (mark.last_id, mark.closed))
        while self._next is not None and self._next.last_id < self.start_id:
            self.passed += 1
        self._meet_marks()

    def step(self, row: Record) -> None:
        """Check the next row of the chain."""
        if self.finding is not None or row.pk <= self.start_id:
            return
        self.rows += 1
        if self._lost_before(row.pk) or self._grew_after_its_end(row.pk):
            return
        if row.prev_hash != self.head:
            self.finding = _break_at(self, row)
        elif row.hash != chain.link(row.prev_hash, canonical_row(row)):
            self.fault("changed", row.pk, f"row {row.pk} was changed")
        else:
            self.head, self.last_id = row.hash, row.pk
            self.unanchored += 1
            self._meet_marks()

    def end(self) -> None:
        """No row is left: whatever is anchored beyond the last one was cut off."""
        mark = self._next
        if self.finding is None and mark is not None:
            self.fault(
                "cut",
                mark.last_id,
                f"it ends at row {self.last_id}, but row {mark.last_id} was anchored at "
                f"{mark.at:%Y-%m-%d %H:%M:%S}",
            )

    def look_at_head(self) -> None:
        """Is the newest anchored row there, and what it was?"""
        newest = self.marks[-1] if self.marks else None
        if newest is None or newest.last_id <= self.start_id or self.finding is not None:
            return
        rows = self.model.rows().filter(pk=newest.last_id, writer=self.writer, hash=newest.hash)
        if not rows.exists():
            self.fault("cut", newest.last_id, f"row {newest.last_id}, anchored last, is not there")

    def fault(self, fault: Fault, row_id: int | None, message: str) -> None:
        self.finding = self.found(fault, row_id, message)

    def found(self, fault: Fault, row_id: int | None, message: str) -> Finding:
        """A finding about this chain."""
        return Finding(
            table=self.model.__name__,
            writer=self.writer,
            fault=fault,
            row_id=row_id,
            message=message,
        )

    @property
    def _next(self) -> Anchor | None:
        return self.marks[self.passed] if self.passed < len(self.marks) else None

    def _meet_marks(self) -> None:
        """All anchors of the row where the chain is now must say its hash."""
        while (mark := self._next) is not None and mark.last_id == self.last_id:
            if mark.hash != self.head:
                since = f"row {self.anchored_id}" if self.anchored_id else "its beginning"
                self.fault(
                    "changed",
                    mark.last_id,
                    f"row {mark.last_id} is not what was anchored at {mark.at:%Y-%m-%d %H:%M:%S}: "
                    f"it was rewritten, somewhere after {since}",
                )
                return
            self.passed += 1
            self.anchored_id, self.unanchored = mark.last_id, 0

    def _lost_before(self, row_id: int) -> bool:
        mark = self._next
        if mark is None or mark.last_id >= row_id:
            return False
        self.fault("missing", mark.last_id, f"row {mark.last_id}, which was anchored, is missing")
        return True

    def _grew_after_its_end(self, row_id: int) -> bool:
        mark = self.marks[self.passed - 1] if self.passed else None
        if mark is None or not mark.closed:
            return False
        message = f"row {row_id} was added after the writer had ended at row {mark.last_id}"
        self.fault("inserted", row_id, message)
        return True


# Where a chain breaks.


def _break_at(walk: Chain, row: Record) -> Finding:
    """What to say of a row that does not follow the one before it."""
    rows = walk.model.rows().filter(writer=walk.writer)
    rival = rows.filter(prev_hash=row.prev_hash, pk__lt=row.pk).order_by("pk").first()
    if rival is not None:
        return _fork(walk, rows, rival, row)
    gap = _missing_id(walk, row.pk)
    if gap is None and walk.last_id:
        message = f"row {walk.last_id} was rewritten: row {row.pk} follows what it was before"
        return walk.found("changed", walk.last_id, message)
    where = f"between rows {walk.last_id} and {row.pk}" if walk.last_id else f"before row {row.pk}"
    first = "" if gap is None else f", first row {gap}"
    return walk.found("missing", gap, f"rows are missing {where}{first}")


def _fork(walk: Chain, rows: QuerySet[Any], rival: Record, row: Record) -> Finding:
    """Two rows claim the same place; the one that the chain goes on from is the genuine one."""
    goes_on = {mark.hash for mark in walk.marks}

    def genuine(one: Record) -> bool:
        return one.hash in goes_on or rows.filter(prev_hash=one.hash, pk__gt=row.pk).exists()

    added = rival if genuine(row) and not genuine(rival) else row
    other = row if added is rival else rival
    message = f"row {added.pk} was inserted: it claims the place of row {other.pk}"
    return walk.found("inserted", added.pk, message)


def _missing_id(walk: Chain, before: int) -> int | None:
    """The first number of the table that nobody has, between the chain's last row and this one."""
    taken = (
        walk.model.rows()
        .filter(pk__gt=walk.last_id, pk__lt=before)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    expected = walk.last_id + 1
    for row_id in taken.iterator(chunk_size=PAGE):
        if row_id != expected:
            return expected
        expected += 1
    return expected if expected < before else None


# All of them.


def verify() -> Report:
    """Walk every chain. Raises DatabaseError, OSError: then nothing is known."""
    survey = _Survey()
    survey.read_marks()  # before the rows: every anchor that is read has its rows committed
    for model in CHAINED:
        for row in _rows(model):
            survey.chain(model, row.writer).step(row)
    return survey.report()


def cut_chains() -> list[Finding]:
    """Chains that do not reach their newest authentic anchor, without walking them."""
    survey = _Survey()
    survey.read_marks()
    return survey.cut()


class _Survey:
    """All chains by table and writer."""

    def __init__(self) -> None:
        self._chains: dict[tuple[str, str], Chain] = {}
        self._anchors = 0
        self._forged: list[Finding] = []
        self._unreadable: list[str] = []
        self._unverifiable: list[tuple[Mark, str]] = []
        self._proved: dict[tuple[str, str, str], int] = {}

    def chain(self, model: type[Record], writer: str) -> Chain:
        key = model.__name__, writer
        if key not in self._chains:
            self._chains[key] = Chain(model=model, writer=writer)
        return self._chains[key]

    def read_marks(self) -> None:
        for checkpoint in Checkpoint.rows().order_by("last_id"):
            walk = self._of(checkpoint, f"checkpoint {checkpoint.pk}")
            # One that nobody can verify proves no removal: whoever can write to the database could
            # have made it up. A genuine one was sealed anew before its key was dropped.
            if walk is not None and anchors.is_authentic(checkpoint, settings.KEYS.master):
                walk.checkpoint = checkpoint
        for anchor in Anchor.rows().order_by("pk").iterator(chunk_size=PAGE):
            self._add(anchor, f"anchor {anchor.pk}")
        for line in anchors.lines():
            if line.anchor is None:
                self._unreadable.append(line.place)
            else:
                self._add(line.anchor, line.place)
        for walk in self._chains.values():
            walk.begin()

    def report(self) -> Report:
        walks = self._chains.values()
        for walk in walks:
            walk.end()
        found = [walk.finding for walk in walks if walk.finding is not None]
        return Report(
            rows=sum(walk.rows for walk in walks),
            chains=len(walks),
            anchors=self._anchors,
            unanchored=sum(walk.unanchored for walk in walks if walk.finding is None),
            findings=(*self._forged, *found),
            unreadable=tuple(self._unreadable),
            unverifiable=tuple(
                f"{place} (key {mark.kid})"
                for mark, place in self._unverifiable
                if mark.last_id > self._proved.get(_what(mark), 0)
            ),
        )

    def cut(self) -> list[Finding]:
        for walk in self._chains.values():
            walk.look_at_head()
        return [
            *self._forged,
            *(walk.finding for walk in self._chains.values() if walk.finding is not None),
        ]

    def _add(self, anchor: Anchor, place: str) -> None:
        walk = self._of(anchor, place)
        if walk is not None:
            self._anchors += 1
            walk.marks.append(anchor)

    def _of(self, mark: Mark, place: str) -> Chain | None:
        """The chain that an authentic mark speaks of."""
        model = MODELS.get(mark.table)
        authentic = anchors.is_authentic(mark, settings.KEYS.master)
        if model is None or authentic is False:
            message = f"{place} was not signed by the hub"
            self._forged.append(
                Finding(
                    table=mark.table,
                    writer=mark.writer,
                    fault="forged",
                    row_id=None,
                    message=message,
                )
            )
            return None
        if authentic is None:
            self._unverifiable.append((mark, place))
        else:
            self._proved[_what(mark)] = max(mark.last_id, self._proved.get(_what(mark), 0))
        return self.chain(model, mark.writer)


def _what(mark: Mark) -> tuple[str, str, str]:
    """What a later mark says as well: the kind of mark, and the chain."""
    return type(mark).__name__, mark.table, mark.writer


MODELS: Final[Mapping[str, type[Record]]] = {model.__name__: model for model in CHAINED}


def _rows(model: type[Record]) -> Iterator[Any]:
    fields = (*CHAINED[model], "prev_hash", "hash")
    return model.rows().order_by("pk").only(*fields).iterator(chunk_size=PAGE)
