"""What the tests of builds over HTTP share: their stores, and an engine that uploads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from security import door
from tests.engine.api.api_bench import Forge, Nonces


@pytest.fixture(autouse=True)
def reported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The violations, kept from their writer: its thread would wait for this test's transaction."""
    incidents: list[Any] = []
    monkeypatch.setattr("security.violations.report", incidents.append)
    return incidents


@pytest.fixture(autouse=True)
def _stores(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path
    before = door._door.nonces
    door.use_nonces(Nonces())
    yield
    door.use_nonces(before)


@pytest.fixture
def forge() -> Forge:
    return Forge()
