"""``verify_audit``, ``export_audit`` and ``prune`` as a shell sees them."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from security import anchors, database
from security.keys import Key, KeyRing, Keys
from security.recorder import Recorder
from tests.security.test_verification import note, tamper

WAIT_S = 20.0
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rows(settings: Any, tmp_path: Path) -> Iterator[list[int]]:
    settings.DATA_DIR = tmp_path
    writer = Recorder(capacity=100, anchors_due=anchors.Due(every_rows=2))
    yield note(writer, 4)
    writer.close(WAIT_S)
    database.shutdown()


@pytest.fixture(autouse=True)
def entries(monkeypatch: Any) -> list[str]:
    written: list[str] = []
    monkeypatch.setattr("security.audit.append", lambda action, **_facts: written.append(action))
    return written


def run(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command(*words, stdout=out, stderr=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def test_sound_records_are_exit_code_0() -> None:
    code, said = run("verify_audit")
    assert (code, said.splitlines()[-1]) == (0, "Every chain is whole.")
    code, said = run("verify_audit", "--json")
    assert (code, json.loads(said)["ok"], json.loads(said)["rows"]) == (0, True, 4)


def test_a_broken_chain_is_exit_code_1_and_its_row_is_named(rows: list[int]) -> None:
    tamper("UPDATE security_violation SET kind = 'harmless' WHERE id = %s", rows[2])
    code, said = run("verify_audit")
    assert code == 1
    assert f"row {rows[2]} was changed" in said
    code, said = run("verify_audit", "--json")
    report = json.loads(said)
    assert (code, report["ok"], report["findings"][0]["row_id"]) == (1, False, rows[2])


def test_what_cannot_be_told_is_exit_code_2(monkeypatch: Any, settings: Any) -> None:
    ring = KeyRing((Key("later", bytes(range(32))),))
    settings.KEYS = Keys(django=settings.KEYS.django, master=ring, jwt=settings.KEYS.jwt)
    assert run("verify_audit")[0] == 2

    def gone() -> None:
        raise OperationalError("no such table")

    monkeypatch.setattr("security.management.commands.verify_audit.verify", gone)
    code, said = run("verify_audit", "--json")
    assert (code, json.loads(said)["ok"]) == (2, False)


def test_an_export_goes_to_standard_output_or_to_a_new_file(
    tmp_path: Path, entries: list[str]
) -> None:
    _, said = run("export_audit")
    assert len([json.loads(line) for line in said.splitlines()]) == 4
    path = tmp_path / "out.csv"
    _, said = run("export_audit", "--format", "csv", "--output", str(path), "--json")
    assert json.loads(said)["rows"] == 4
    assert len(path.read_text().splitlines()) == 5
    with pytest.raises(CommandError, match="cannot be written"):
        run("export_audit", "--output", str(path))
    assert entries == ["records_exported", "records_exported"]


def test_an_export_can_be_of_a_stretch_of_time() -> None:
    assert run("export_audit", "--since", "2026-01-01")[1] == ""
    assert len(run("export_audit", "--until", "2026-01-01T00:00:00+01:00")[1].splitlines()) == 4
    with pytest.raises(CommandError, match="no ISO 8601"):
        run("export_audit", "--since", "yesterday")


def test_one_json_object_and_rows_do_not_share_standard_output() -> None:
    with pytest.raises(CommandError, match="needs --output"):
        run("export_audit", "--json")


def test_prune_says_what_it_removed_and_where_it_is_kept(
    tmp_path: Path, entries: list[str]
) -> None:
    _, said = run("prune", "--keep-days", "-1", "--json")
    facts = json.loads(said)
    assert facts["violations"]["removed"] == 4
    assert Path(facts["violations"]["file"]).parent == tmp_path / "exports"
    assert (facts["audit"]["removed"], facts["feed_events"]) == (0, 0)
    assert entries == ["records_pruned"]
    assert "violations: 0 rows removed" in run("prune")[1]


def test_prune_touches_nothing_while_a_chain_is_broken(rows: list[int]) -> None:
    tamper("UPDATE security_violation SET kind = 'harmless' WHERE id = %s", rows[0])
    with pytest.raises(CommandError, match="while a chain is broken"):
        run("prune", "--keep-days", "-1")
