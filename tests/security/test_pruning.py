"""Pruning removes only what is anchored and exported, and leaves chains that still verify."""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from security import anchors, clock, database, pruning
from security.models import Anchor, Checkpoint, Violation
from security.pruning import Pruned, RecordsBroken, prune_records
from security.recorder import Recorder
from security.verification import verify
from tests.security.notes import Note
from tests.security.test_verification import inserted_after, note, tamper

WAIT_S = 20.0
LATER = timedelta(days=400)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def writer() -> Iterator[Recorder]:
    made = Recorder(capacity=1_000, anchors_due=anchors.Due(every_rows=2))
    yield made
    made.close(WAIT_S)
    database.shutdown()


def prune(folder: Path, *, in_time: timedelta = LATER) -> Pruned:
    """What happens to violations when the command runs that much later."""
    now_ms = clock.now_ms()
    before = clock.moment(now_ms) + in_time - timedelta(days=365)
    violations, _audit = prune_records(before=before, folder=folder, now_ms=now_ms)
    return violations


def test_what_is_anchored_and_old_is_exported_and_removed(writer: Recorder, tmp_path: Path) -> None:
    rows = note(writer, 5)
    done = prune(tmp_path)
    assert (done.name, done.removed, done.chains) == ("violations", 4, 1)
    assert list(Violation.objects.values_list("pk", flat=True)) == rows[4:]
    assert done.export is not None
    lines = [json.loads(line) for line in done.export.path.read_text().splitlines()]
    assert [line["id"] for line in lines] == rows[:4]
    assert {"prev_hash", "hash", "writer"} < lines[0].keys()


def test_the_chain_verifies_from_its_checkpoint_and_goes_on(
    writer: Recorder, tmp_path: Path
) -> None:
    rows = note(writer, 5)
    done = prune(tmp_path)
    checkpoint = Checkpoint._default_manager.get()
    assert checkpoint.last_id == rows[3]
    assert done.export is not None
    assert checkpoint.export_name == done.export.path.name
    assert checkpoint.export_sha256 == hashlib.sha256(done.export.path.read_bytes()).hexdigest()
    note(writer, 1)
    report = verify()
    assert (report.sound, report.rows) == (True, 2)


def test_what_was_removed_behind_a_checkpoint_is_still_missed(
    writer: Recorder, tmp_path: Path
) -> None:
    note(writer, 4)
    prune(tmp_path)
    rows = note(writer, 3)
    tamper("DELETE FROM security_violation WHERE id = %s", rows[0])
    (finding,) = verify().findings
    assert (finding.fault, finding.row_id) == ("missing", rows[0])


def test_young_records_stay(writer: Recorder, tmp_path: Path) -> None:
    note(writer, 4)
    done = prune(tmp_path, in_time=timedelta(days=300))
    assert (done.removed, done.export) == (0, None)
    assert Violation.objects.count() == 4
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_broken_chain_is_evidence_and_nothing_goes(writer: Recorder, tmp_path: Path) -> None:
    rows = note(writer, 4)
    tamper("UPDATE security_violation SET kind = 'harmless' WHERE id = %s", rows[3])
    with pytest.raises(RecordsBroken, match=f"row {rows[3]} was changed"):
        prune(tmp_path)
    assert Violation.objects.count() == 4
    assert not Checkpoint._default_manager.exists()


def test_pruning_again_goes_on_from_the_checkpoint(writer: Recorder, tmp_path: Path) -> None:
    note(writer, 4)
    prune(tmp_path)
    note(writer, 4)
    assert prune(tmp_path).removed == 4
    assert prune(tmp_path).removed == 0
    assert Checkpoint._default_manager.count() == 2
    assert verify().sound


def test_anchors_inside_go_and_the_last_one_stays(writer: Recorder, tmp_path: Path) -> None:
    rows = note(writer, 4)
    writer.close(WAIT_S)
    prune(tmp_path)
    kept = Anchor._default_manager.values_list("last_id", "closed").order_by("id")
    assert list(kept) == [(rows[3], False), (rows[3], True)]


def test_a_row_added_to_a_pruned_and_ended_chain_is_named(writer: Recorder, tmp_path: Path) -> None:
    rows = note(writer, 4)
    writer.close(WAIT_S)
    fake = inserted_after(rows[3], rows[3] + 1)
    tamper("DELETE FROM security_violation WHERE id = %s", fake.pk)
    prune(tmp_path)
    fake.pk, fake._state.adding = rows[3] + 1, True
    fake.save()
    (finding,) = verify().findings
    assert (finding.fault, finding.row_id) == ("inserted", fake.pk)


def test_an_interrupted_run_is_finished_by_the_next(
    writer: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(writer, 4)
    with monkeypatch.context() as patch:
        patch.setattr(pruning, "_remove", lambda _model: 0)
        prune(tmp_path)
    assert Violation.objects.count() == 4
    assert verify().sound
    assert prune(tmp_path).removed == 4


def test_rows_are_removed_in_batches(
    writer: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 3)
    note(writer, 8)
    assert prune(tmp_path).removed == 8
    assert connection.in_atomic_block is False


def test_an_export_is_never_written_over(writer: Recorder, tmp_path: Path) -> None:
    note(writer, 2)
    now_ms = clock.now_ms()
    (tmp_path / f"violations-{clock.moment(now_ms):%Y%m%dT%H%M%S.%fZ}.jsonl").touch()
    before = clock.moment(now_ms) + timedelta(days=1)
    with pytest.raises(FileExistsError):
        prune_records(before=before, folder=tmp_path, now_ms=now_ms)
    assert Violation.objects.count() == 2


def test_notes_have_no_time_of_their_own() -> None:
    """What is old is told by the anchor: rows of one group may be anchored much later."""
    assert Note("a").at_ms == Note("b").at_ms
