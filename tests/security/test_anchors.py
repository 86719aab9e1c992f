"""Anchors say what a chain was, and nobody but the hub can say it."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from security import anchors, database
from security.clock import moment
from security.keys import Key, KeyRing
from security.models import Anchor, AuditEntry, Checkpoint, Violation
from security.recorder import Recorder
from tests.security.notes import Note

AT = 1_760_000_000_000
WAIT_S = 20.0
RING = KeyRing((Key("k1", bytes(range(32))),))
NEWER = KeyRing((Key("k2", bytes(range(1, 33))), Key("k1", bytes(range(32)))))


def an_anchor(**changes: Any) -> Anchor:
    facts = {"table": "Violation", "writer": "w", "last_id": 7, "hash": "ab" * 32, "at": moment(AT)}
    anchor = Anchor(**{**facts, **changes})
    anchors.seal(anchor, RING)
    return anchor


# Signing.


def test_an_anchor_verifies_as_long_as_its_key_is_in_the_ring() -> None:
    anchor = an_anchor()
    assert anchors.is_authentic(anchor, RING) is True
    assert anchors.is_authentic(anchor, NEWER) is True
    assert anchors.is_authentic(anchor, KeyRing((Key("k2", bytes(range(1, 33))),))) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("table", "AuditEntry"),
        ("writer", "x"),
        ("last_id", 8),
        ("hash", "cd" * 32),
        ("at", moment(AT + 1)),
        ("closed", True),
        ("mac", "0" * 64),
    ],
)
def test_a_changed_anchor_does_not_verify(field: str, value: object) -> None:
    anchor = an_anchor()
    setattr(anchor, field, value)
    assert anchors.is_authentic(anchor, RING) is False


def test_an_anchor_is_no_checkpoint() -> None:
    facts: dict[str, Any] = {
        "table": "Violation", "writer": "w", "last_id": 7, "hash": "ab" * 32, "at": moment(AT)
    }  # fmt: skip
    checkpoint = Checkpoint(**facts, export_name="a", export_sha256="b")
    anchors.seal(checkpoint, RING)
    assert anchors.is_authentic(checkpoint, RING)
    checkpoint.mac = an_anchor().mac
    assert anchors.is_authentic(checkpoint, RING) is False
    for field in ("export_name", "export_sha256"):
        anchors.seal(checkpoint, RING)
        setattr(checkpoint, field, "other")
        assert anchors.is_authentic(checkpoint, RING) is False


# When one is due.


def test_an_anchor_is_due_a_minute_after_the_first_row() -> None:
    due, row = anchors.Due(every_s=60, every_rows=1_000), Violation()
    assert due.at is None
    due.grew([row], now=10)
    due.grew([row], now=50)
    assert due.at == 70
    assert due.take(69.9) == []
    assert due.take(70) == [row]
    assert (due.at, due.take(1_000)) == (None, [])


def test_an_anchor_is_due_at_once_after_many_rows_of_one_chain() -> None:
    due, violation, entry = anchors.Due(every_rows=4), Violation(), AuditEntry()
    due.grew([violation, entry, violation, entry, violation], now=10)
    assert due.at == 70
    last = Violation()
    due.grew([last], now=11)
    assert due.take(11) == [last, entry]


def test_only_chains_that_grew_are_due_but_all_are_closed() -> None:
    due, violation, entry = anchors.Due(every_s=0), Violation(), AuditEntry()
    due.grew([violation], now=0)
    assert due.take(0) == [violation]
    due.grew([entry], now=1)
    assert due.take(1) == [entry]
    assert due.take_all() == [violation, entry]


# Writing and reading.


@pytest.fixture
def sink(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path / "anchors"


@pytest.fixture
def writer(sink: Path) -> Iterator[Recorder]:
    made = Recorder(capacity=100, anchors_due=anchors.Due(every_rows=2))
    yield made
    made.close(WAIT_S)
    database.shutdown()


def note(writer: Recorder, count: int) -> None:
    for number in range(count):
        writer.append(Note(f"n{number}"))
    assert writer.flush(WAIT_S)


@pytest.mark.django_db(transaction=True)
def test_a_recorder_anchors_while_its_chain_grows_and_when_it_ends(writer: Recorder) -> None:
    note(writer, 3)
    (anchor,) = Anchor._default_manager.all()
    last = Violation.objects.order_by("id").last()
    assert last is not None
    assert (anchor.table, anchor.writer, anchor.closed) == ("Violation", writer.writer, False)
    assert (anchor.last_id, anchor.hash) == (last.pk, last.hash)
    assert anchors.is_authentic(anchor, django_settings.KEYS.master)
    assert writer.close(WAIT_S)
    assert [each.closed for each in Anchor._default_manager.order_by("id")] == [False, True]


@pytest.mark.django_db(transaction=True)
def test_the_file_says_the_same_as_the_database(writer: Recorder, sink: Path) -> None:
    note(writer, 3)
    writer.close(WAIT_S)
    read = [line.anchor for line in anchors.lines()]
    for line, row in zip(read, Anchor._default_manager.order_by("id"), strict=True):
        assert line is not None
        assert anchors.is_authentic(line, django_settings.KEYS.master)
        assert (line.last_id, line.hash, line.mac) == (row.last_id, row.hash, row.mac)
    (path,) = sink.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db(transaction=True)
def test_records_go_on_when_anchors_cannot_be_written(writer: Recorder, sink: Path) -> None:
    sink.write_text("a file where the folder should be")
    note(writer, 3)
    note(writer, 3)
    assert Violation.objects.count() == 6


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[]", "{}", '{"table":1}', "\x00",
        json.dumps({**dict.fromkeys(("table", "writer", "hash", "kid", "mac"), "x"),
                    "last_id": True, "at_ms": 1, "closed": False}),
        json.dumps({**dict.fromkeys(("table", "writer", "hash", "kid", "mac"), "x"),
                    "last_id": 1, "at_ms": 10**30, "closed": False}),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_named_and_no_error(sink: Path, line: str) -> None:
    sink.mkdir()
    (sink / "2026-11-22.jsonl").write_text(f"{line}\n")
    assert [(each.place, each.anchor) for each in anchors.lines()] == [("2026-11-22.jsonl:1", None)]


def test_lines_of_earlier_days_come_first(sink: Path) -> None:
    sink.mkdir()
    for day in (timedelta(days=1), timedelta()):
        name = f"{moment(AT) + day:%Y-%m-%d}.jsonl"
        (sink / name).write_text("{}\n")
    assert [each.place for each in anchors.lines()] == ["2025-10-09.jsonl:1", "2025-10-10.jsonl:1"]
