"""The matrix says what was seen, whatever a scenario does, and nothing tried is no proof."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from hubsite.drill import matrix
from hubsite.drill.matrix import Matrix, Result, page, play_all
from hubsite.drill.stage import Scenario, Stage

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Cast:
    """One that is elsewhere, or here and finds what it was told to find."""

    def __init__(self, *, local: bool = True, recorded: bool | None = True) -> None:
        self.local, self._recorded = local, recorded

    async def person(self) -> Any:
        raise AssertionError

    async def engine(self) -> None: ...

    async def recorded(self, _kind: str, _since: datetime) -> bool | None:
        return self._recorded


def scenario(play: Any, *, local: bool = False, kind: str = "no") -> Scenario:
    return Scenario(
        control="door", name="a knock", expected="no", play=play, kind=kind, local=local
    )


def played(monkeypatch: pytest.MonkeyPatch, cast: Cast, *scenarios: Scenario) -> Matrix:
    monkeypatch.setattr(matrix, "SCENARIOS", scenarios)
    return asyncio.run(play_all(Stage("http://hub", cast)))


async def refused(_stage: Stage) -> str:
    return "no"


async def let_in(_stage: Stage) -> str:
    return "yes\n\x1b[2J"


async def broken(_stage: Stage) -> str:
    raise TimeoutError("nobody answers")


def test_what_is_refused_and_recorded_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    found = played(monkeypatch, Cast(), scenario(refused))
    assert (found.gaps, found.results[0].held) == (0, True)


@pytest.mark.parametrize(
    ("play", "recorded", "seen"),
    [
        (let_in, True, "yes\\n\\x1b[2J"),
        (broken, True, "TimeoutError: nobody answers"),
        (refused, False, "no, and no record of it"),
    ],
)
def test_everything_else_is_a_gap(
    play: Any, recorded: bool, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = played(monkeypatch, Cast(recorded=recorded), scenario(play))
    assert (found.gaps, found.results[0].seen) == (1, seen)


def test_what_cannot_be_looked_up_from_afar_counts_as_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast = Cast(local=False, recorded=None)
    found = played(monkeypatch, cast, scenario(refused), scenario(refused, local=True))
    assert (found.gaps, found.skipped) == (0, ("door: a knock",))


def test_a_drill_without_scenarios_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(monkeypatch, Cast()).gaps == 1


def test_the_page_runs_nothing_that_a_hub_said() -> None:
    result = Result(
        control="door", scenario="x", expected="no", seen="<script>alert(1)</script>", held=False
    )
    text = page(Matrix(url="http://<hub>", at=AT, results=(result,), skipped=("<b>",)))
    assert "<script>" not in text
    assert "<b>" not in text
    assert "http://&lt;hub&gt;" in text
    assert '<tr class="gap">' in text
