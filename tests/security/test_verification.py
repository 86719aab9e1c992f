"""Whoever changes, removes, inserts, rewrites or cuts records is found, and the row is named."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from security import anchors, chain, database, triggers
from security.keys import Key, KeyRing, Keys
from security.models import Anchor, AuditEntry, Checkpoint, Record, Violation
from security.pruning import RecordsBroken, prune_records
from security.recorder import Recorder, canonical_row
from security.verification import Finding, Report, verify
from tests.security.notes import Note

WAIT_S = 20.0
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def sink(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path / "anchors"


@pytest.fixture
def open_writer() -> Iterator[Callable[..., Recorder]]:
    opened: list[Recorder] = []

    def make(**due: Any) -> Recorder:
        opened.append(Recorder(capacity=1_000, anchors_due=anchors.Due(**due)))
        return opened[-1]

    yield make
    for each in opened:
        each.close(WAIT_S)
    database.shutdown()


def note(writer: Recorder, count: int, model: type[Record] = Violation) -> list[int]:
    """Store rows one by one; returns their numbers."""
    for number in range(count):
        writer.append(Note(f"n{number}", model=model))
        assert writer.flush(WAIT_S)
    rows = model._default_manager.filter(writer=writer.writer).order_by("pk")
    return list(rows.values_list("pk", flat=True))


def tamper(sql: str, *values: object) -> None:
    """What the owner of the database can do: take the triggers away, and write what they like."""
    with connection.cursor() as cursor:
        for statement in triggers.drop_statements(connection.vendor):
            cursor.execute(statement)
        cursor.execute(sql, values)
        for statement in triggers.create_statements(connection.vendor):
            cursor.execute(statement)


def rehash(row: Violation, prev_hash: str) -> str:
    """Hash a row anew, as anybody can who knows how; returns the hash."""
    row.prev_hash = prev_hash
    row.hash = chain.link(prev_hash, canonical_row(row))
    tamper(
        "UPDATE security_violation SET prev_hash = %s, hash = %s, kind = %s WHERE id = %s",
        row.prev_hash, row.hash, row.kind, row.pk,
    )  # fmt: skip
    return row.hash


def inserted_after(row_id: int, new_id: int) -> Violation:
    """A row that claims to follow another, with a hash that is right."""
    before = Violation.objects.get(pk=row_id)
    row = Violation.objects.get(pk=row_id)
    row.pk, row._state.adding, row.kind = new_id, True, "made_up"
    row.prev_hash = before.hash
    row.hash = chain.link(row.prev_hash, canonical_row(row))
    row.save()
    return row


def the_finding() -> Finding:
    (finding,) = verify().findings
    return finding


def facts(finding: Finding) -> tuple[str, str, int | None]:
    return finding.table, finding.fault, finding.row_id


# Whole.


def test_an_empty_hub_is_sound() -> None:
    assert verify() == Report(
        rows=0, chains=0, anchors=0, unanchored=0, findings=(), unreadable=(), unverifiable=()
    )


def test_several_chains_of_both_tables_are_sound_while_they_grow_and_when_they_end(
    open_writer: Callable[..., Recorder],
) -> None:
    one, other = open_writer(every_rows=2), open_writer()
    for writer in (one, other):
        note(writer, 3)
        note(writer, 3, AuditEntry)
    report = verify()
    assert (report.sound, report.rows, report.chains) == (True, 12, 4)
    assert report.unanchored == 1 + 6  # the anchor of audit row 2 was one of violation row 3, too
    one.close(WAIT_S)
    other.close(WAIT_S)
    report = verify()
    assert (report.sound, report.rows, report.unanchored) == (True, 12, 0)


# Broken.


@pytest.mark.parametrize(
    "change",
    [
        "kind = 'harmless'",
        "count = count + 1",
        "ip = NULL",
        "user_id = 7",
        "principal = 'user:2'",
        "hash = '00'",
    ],
)
def test_a_changed_row_is_named(open_writer: Callable[..., Recorder], change: str) -> None:
    rows = note(open_writer(), 4)
    tamper(f"UPDATE security_violation SET {change} WHERE id = %s", rows[1])  # noqa: S608 - as above
    assert facts(the_finding()) == ("Violation", "changed", rows[1])


def test_a_missing_row_is_named(open_writer: Callable[..., Recorder]) -> None:
    rows = note(open_writer(), 4, AuditEntry)
    tamper("DELETE FROM security_auditentry WHERE id = %s", rows[1])
    assert facts(the_finding()) == ("AuditEntry", "missing", rows[1])


def test_a_missing_first_row_is_named(open_writer: Callable[..., Recorder]) -> None:
    writer = open_writer()
    first = note(writer, 4)[0]
    tamper("DELETE FROM security_violation WHERE id = %s", first)
    finding = the_finding()
    assert finding.fault == "missing"
    assert f"before row {first + 1}" in finding.message


def test_a_row_that_was_changed_and_hashed_anew_is_named(
    open_writer: Callable[..., Recorder],
) -> None:
    rows = note(open_writer(), 4)
    row = Violation.objects.get(pk=rows[1])
    row.kind = "harmless"
    rehash(row, row.prev_hash)
    assert facts(the_finding()) == ("Violation", "changed", rows[1])


def test_a_row_added_at_the_end_is_named_once_the_chain_goes_on(
    open_writer: Callable[..., Recorder],
) -> None:
    writer = open_writer()
    rows = note(writer, 2)
    fake = inserted_after(rows[0], rows[1] + 10)
    note(writer, 1)
    assert facts(the_finding()) == ("Violation", "inserted", fake.pk)


def test_a_row_put_into_a_gap_is_named(open_writer: Callable[..., Recorder]) -> None:
    one, other = open_writer(), open_writer()
    first = note(one, 1)[0]
    gap = note(other, 1)[0]
    note(one, 2)
    other.close(WAIT_S)
    tamper("DELETE FROM security_violation WHERE id = %s", gap)
    fake = inserted_after(first, gap)
    found = {finding.fault: finding.row_id for finding in verify().findings}
    assert found == {"inserted": fake.pk, "cut": gap}


def test_a_tail_that_was_cut_off_is_found_by_its_anchor(
    open_writer: Callable[..., Recorder],
) -> None:
    rows = note(open_writer(every_rows=2), 5)
    tamper("DELETE FROM security_violation WHERE id >= %s", rows[3])
    finding = the_finding()
    assert facts(finding) == ("Violation", "cut", rows[3])
    assert f"ends at row {rows[2]}" in finding.message


def test_a_whole_chain_that_was_removed_with_its_anchors_is_found_by_the_file(
    open_writer: Callable[..., Recorder],
) -> None:
    rows = note(open_writer(every_rows=2), 2)
    tamper("DELETE FROM security_violation")
    tamper("DELETE FROM security_anchor")
    assert facts(the_finding()) == ("Violation", "cut", rows[-1])


def test_a_chain_that_was_written_anew_is_found_by_its_anchor(
    open_writer: Callable[..., Recorder],
) -> None:
    rows = note(open_writer(every_rows=4), 4)
    head = chain.GENESIS
    for row in Violation.objects.order_by("pk"):
        row.kind = "harmless"
        head = rehash(row, head)
    assert facts(the_finding()) == ("Violation", "changed", rows[-1])


def test_an_anchored_row_that_was_replaced_by_others_is_missing(
    open_writer: Callable[..., Recorder],
) -> None:
    writer = open_writer(every_rows=2)
    rows = note(writer, 2)
    tamper("DELETE FROM security_violation WHERE id = %s", rows[1])
    inserted_after(rows[0], rows[1] + 10)
    assert facts(the_finding()) == ("Violation", "missing", rows[1])


def test_a_row_added_after_a_writer_had_ended_is_named(
    open_writer: Callable[..., Recorder],
) -> None:
    writer = open_writer()
    rows = note(writer, 2)
    writer.close(WAIT_S)
    fake = inserted_after(rows[1], rows[1] + 1)
    assert facts(the_finding()) == ("Violation", "inserted", fake.pk)


def test_the_fault_of_one_chain_hides_no_other(open_writer: Callable[..., Recorder]) -> None:
    for _ in range(2):
        note(open_writer(), 3)
    tamper("UPDATE security_violation SET kind = 'harmless'")
    report = verify()
    assert [finding.fault for finding in report.findings] == ["changed", "changed"]
    assert report.chains == 2


# Marks.


def test_an_anchor_that_nobody_signed_is_named(open_writer: Callable[..., Recorder]) -> None:
    writer = open_writer(every_rows=1)
    note(writer, 1)
    tamper("UPDATE security_anchor SET last_id = last_id + 1")
    finding = the_finding()
    assert (finding.fault, finding.row_id) == ("forged", None)


def test_a_line_that_nobody_signed_is_named(
    open_writer: Callable[..., Recorder], sink: Path
) -> None:
    note(open_writer(every_rows=1), 1)
    (path,) = sink.iterdir()
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "last_id": said["last_id"] + 1}) + "\n")
    assert "was not signed" in the_finding().message
    assert path.name in the_finding().message


def removed_behind(writer: Recorder, *, kid: str, mac: str) -> Violation:
    """Two of three rows, removed behind a checkpoint that somebody made up; the last of them."""
    rows = note(writer, 3)
    row = Violation.objects.get(pk=rows[1])
    Checkpoint(
        table="Violation", writer=writer.writer, last_id=row.pk, hash=row.hash, at=row.at,
        kid=kid, mac=mac, export_name="", export_sha256="",
    ).save()  # fmt: skip
    with connection.cursor() as cursor:  # the trigger lets these go: it knows no keys
        cursor.execute("DELETE FROM security_violation WHERE id <= %s", [row.pk])
    return row


def test_a_checkpoint_that_nobody_signed_hides_no_removal(
    open_writer: Callable[..., Recorder],
) -> None:
    removed_behind(open_writer(), kid="dev1", mac="0" * 64)
    assert [finding.fault for finding in verify().findings] == ["forged", "missing"]


def test_a_checkpoint_of_a_key_that_is_not_in_the_ring_hides_no_removal(
    open_writer: Callable[..., Recorder],
) -> None:
    row = removed_behind(open_writer(), kid="gone", mac="00")
    report = verify()
    assert [finding.fault for finding in report.findings] == ["missing"]
    assert report.unverifiable == (f"checkpoint {Checkpoint.rows().get().pk} (key gone)",)
    with pytest.raises(RecordsBroken):
        prune_records(before=row.at, folder=Path("/nowhere"), now_ms=0)


def test_a_torn_line_is_told_and_no_fault(open_writer: Callable[..., Recorder], sink: Path) -> None:
    note(open_writer(every_rows=1), 1)
    (path,) = sink.iterdir()
    path.write_text(path.read_text() + '{"table":"Viol')
    report = verify()
    assert (report.sound, report.unreadable) == (True, (f"{path.name}:2",))


def test_marks_of_a_dropped_key_are_told_and_still_compared(
    open_writer: Callable[..., Recorder], settings: Any
) -> None:
    rows = note(open_writer(every_rows=2), 3)
    ring = KeyRing((Key("later", bytes(range(32))),))
    settings.KEYS = Keys(django=settings.KEYS.django, master=ring, jwt=settings.KEYS.jwt)
    report = verify()
    assert (report.sound, len(report.unverifiable)) == (True, 2)
    tamper("DELETE FROM security_violation WHERE id > %s", rows[0])
    assert the_finding().fault == "cut"


def test_anchors_are_counted_and_are_in_both_places(open_writer: Callable[..., Recorder]) -> None:
    note(open_writer(every_rows=1), 3)
    assert Anchor._default_manager.filter(last_id=F("last_id")).count() == 3
    assert verify().anchors == 6
