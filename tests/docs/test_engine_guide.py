"""The engine guide's diagram and numbers are those of the code."""

from pathlib import Path

from engine.states import mermaid

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "engine.md"


def test_the_diagram_is_the_one_that_the_table_draws() -> None:
    blocks = GUIDE.read_text("utf-8").split("```mermaid\n")[1:]
    assert [block.partition("```")[0] for block in blocks] == [mermaid()]
