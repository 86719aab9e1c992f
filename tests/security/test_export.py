"""What leaves the hub is complete, and nothing in it acts."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.export import cell, chosen, write, write_file
from security.models import AuditEntry, Violation

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def a_violation(**changes: Any) -> Violation:
    facts = {"at": AT, "first_at": AT, "last_at": AT, "kind": "malformed", "writer": "w"}
    return Violation(**{**facts, **changes})


def exported(rows: list[Any], form: str) -> str:
    out = io.StringIO(newline="")
    assert write(rows, type(rows[0]), form, out) == len(rows)
    return out.getvalue()


@pytest.mark.parametrize(
    "text",
    ["=cmd()", "+1", "-1", "@SUM(A1)", "=1+1\n", "  =1", "\t=1", "\r=1", "\uff1dcmd()"],
)
def test_no_cell_begins_as_a_formula(text: str) -> None:
    shown = cell(text)
    assert not shown.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
    assert shown.isprintable()


@given(st.text(max_size=60))
def test_a_cell_is_one_printable_line(text: str) -> None:
    assert cell(text).isprintable()


@pytest.mark.parametrize(("value", "shown"), [(None, ""), (17, "17"), (-3, "-3"), ("a", "a")])
def test_plain_values_stay_plain(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_csv_has_a_header_and_a_row_each() -> None:
    rows = [a_violation(kind="=x", detail={"seen": "=cmd()|' /C calc'!A0"}), a_violation(count=3)]
    header, *lines = csv.reader(io.StringIO(exported(rows, "csv")))
    assert [dict(zip(header, line, strict=True))["kind"] for line in lines] == ["'=x", "malformed"]
    assert dict(zip(header, lines[1], strict=True))["count"] == "3"
    assert lines[0][header.index("detail")].startswith('{"seen"')


def test_json_lines_are_ascii_without_control_characters() -> None:
    row = a_violation(principal="user:1\u202e\x7f\x9b\n", detail={"seen": "\x1b[2J"})
    text = exported([row], "jsonl")
    assert text.isascii()
    assert text[:-1].isprintable()
    assert json.loads(text)["principal"] == "user:1\u202e\x7f\x9b\n"


@pytest.mark.django_db
def test_a_stretch_of_time_is_chosen_with_its_beginning_and_without_its_end() -> None:
    for hours in range(4):
        AuditEntry(at=AT + timedelta(hours=hours), action=f"a{hours}").save()
    rows = chosen(AuditEntry, since=AT + timedelta(hours=1), until=AT + timedelta(hours=3))
    assert [row.action for row in rows if isinstance(row, AuditEntry)] == ["a1", "a2"]


def test_a_file_is_private_and_named_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.csv"
    made = write_file([a_violation()], Violation, "csv", path)
    assert made.rows == 1
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_file([], Violation, "csv", path)
