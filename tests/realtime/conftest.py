"""Fixtures of the realtime tests."""

from collections.abc import Callable, Iterator

import pytest

from tests.realtime.guarded import Bench


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Make a bench with other settings; to be called inside the test's loop."""
    made: list[Bench] = []

    def make(**options: object) -> Bench:
        made.append(Bench(monkeypatch, **options))  # type: ignore[arg-type]  # settings of any kind
        return made[-1]

    yield make
    for bench in made:
        bench.hub.notices.stop()
        bench.hub.kicks.stop()


@pytest.fixture
async def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A guarded node with the default settings."""
    return make_bench()
