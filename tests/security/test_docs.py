"""The limits table of docs/security.md says what the settings class says."""

import dataclasses
from pathlib import Path

import pytest

from security.conf import HubSettings

SECURITY = Path(__file__).resolve().parents[2] / "docs" / "security.md"
FIELDS = dataclasses.fields(HubSettings)


def rows() -> dict[str, list[str]]:
    """The cells of the limits table by variable."""
    found = {}
    for line in SECURITY.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("`HUB_") and len(cells) == 5:
            found[cells[0].strip("`")] = cells
    return found


def shown(default: object) -> str:
    """A default as the table writes it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, int | float):
        return f"{default:,.10g}"
    return str(default) if default else "none"


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_the_limits_table_has_each_setting_with_its_default_and_unit(
    field: "dataclasses.Field[object]",
) -> None:
    cells = rows()[f"HUB_{field.name.upper()}"]
    assert cells[1:4] == [
        shown(field.default),
        field.metadata["unit"],
        field.metadata["doc"].rstrip("."),
    ]


def test_the_limits_table_has_no_setting_that_does_not_exist() -> None:
    assert rows().keys() == {f"HUB_{field.name.upper()}" for field in FIELDS}
