"""Plays the scenarios one after the other and keeps what was seen: the readiness matrix."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from typing import Final

from hubsite.drill.engines import ENGINES
from hubsite.drill.people import PEOPLE
from hubsite.drill.stage import Scenario, Stage
from security import clock
from security.detail import visible

__all__ = ["CONTROLS", "SCENARIOS", "Matrix", "Result", "page", "play_all"]

SCENARIOS: Final[Sequence[Scenario]] = (*PEOPLE, *ENGINES)
CONTROLS: Final = tuple(dict.fromkeys(each.control for each in SCENARIOS))

COLUMNS: Final = ("control", "scenario", "expected", "seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row of the matrix. ``held`` is false for a gap."""

    control: str
    scenario: str
    expected: str
    seen: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """What a drill found. ``skipped`` names scenarios that need the hub's database."""

    url: str
    at: datetime
    results: tuple[Result, ...]
    skipped: tuple[str, ...]

    @property
    def gaps(self) -> int:
        """How many controls did not do what they must. No scenario at all is one, too."""
        return sum(not result.held for result in self.results) if self.results else 1

    def facts(self) -> dict[str, object]:
        """As ``--json`` prints it, and the database keeps it."""
        return {
            "ok": not self.gaps,
            "url": self.url,
            "at": self.at.isoformat(),
            "scenarios": len(self.results),
            "gaps": self.gaps,
            "skipped": list(self.skipped),
            "results": [asdict(result) for result in self.results],
        }


async def play_all(
    stage: Stage, *, only: Sequence[str] = (), told: Callable[[Result], None] | None = None
) -> Matrix:
    """Play all scenarios, or those of some controls; ``told`` hears of each result at once."""
    wanted = [each for each in SCENARIOS if not only or each.control in only]
    possible = [each for each in wanted if stage.cast.local or not each.local]
    at, results = clock.moment(clock.now_ms()), []
    for scenario in possible:
        results.append(await _play(stage, scenario))
        if told is not None:
            told(results[-1])
    skipped = tuple(f"{each.control}: {each.name}" for each in wanted if each not in possible)
    return Matrix(url=stage.url, at=at, results=tuple(results), skipped=skipped)


async def _play(stage: Stage, scenario: Scenario) -> Result:
    since = clock.moment(clock.now_ms())
    try:
        seen = await scenario.play(stage)
    except Exception as fault:  # noqa: BLE001 - whatever stops a scenario: its control is not shown to hold
        seen = f"{type(fault).__name__}: {fault}"
    held = seen == scenario.expected
    if held and scenario.kind and await stage.cast.recorded(scenario.kind, since) is False:
        seen, held = f"{seen}, and no record of it", False
    return Result(
        control=scenario.control,
        scenario=scenario.name,
        expected=scenario.expected,
        seen=visible(seen, 200),
        held=held,
    )


def page(matrix: Matrix) -> str:
    """The matrix as one HTML page without anything from elsewhere."""
    verdict = f"{matrix.gaps} gaps" if matrix.gaps else "no gap"
    rows = "\n".join(_row(result) for result in matrix.results)
    skipped = "".join(f"<li>{escape(name)}</li>" for name in matrix.skipped)
    return PAGE.format(
        title=escape(f"Security drill: {verdict}"),
        where=escape(f"{matrix.url}, {matrix.at:%Y-%m-%d %H:%M:%S} UTC"),
        heads="".join(f"<th>{name}</th>" for name in (*COLUMNS, "verdict")),
        rows=rows,
        skipped=f"<h2>Not tried</h2><ul>{skipped}</ul>" if skipped else "",
    )


def _row(result: Result) -> str:
    cells = "".join(f"<td>{escape(str(getattr(result, name)))}</td>" for name in COLUMNS)
    verdict = "held" if result.held else "gap"
    return f'<tr class="{verdict}">{cells}<td>{verdict}</td></tr>'


PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .35rem .75rem; border-bottom: 1px solid #ddd }}
.held td:last-child {{ color: #14532d; font-weight: 600 }}
.gap td {{ background: #fdecec }} .gap td:last-child {{ color: #7f1d1d; font-weight: 600 }}
</style></head><body><h1>{title}</h1><p>{where}</p>
<table><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table>{skipped}</body></html>
"""
