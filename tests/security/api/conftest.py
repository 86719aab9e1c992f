"""What the tests of the identity API share: its stores, what it put on record, and a person."""

from collections.abc import Iterator
from typing import Any

import pytest

from security import door, services
from security.models import User
from security.throttle import attempts
from security.violations import Incident
from tests.security.api.api_bench import PASSWORD, Nonces


@pytest.fixture(autouse=True)
def nonces() -> Iterator[Nonces]:
    attempts().clear()
    store = Nonces()
    door.use_nonces(store)
    yield store
    door.use_nonces(None)
    attempts().clear()


@pytest.fixture(autouse=True)
def incidents(monkeypatch: Any) -> list[Incident]:
    reported: list[Incident] = []
    monkeypatch.setattr("security.violations.report", reported.append)
    return reported


@pytest.fixture(autouse=True)
def entries(monkeypatch: Any) -> list[tuple[str, dict[str, Any]]]:
    written: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "security.audit.append", lambda action, **facts: written.append((action, facts))
    )
    return written


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def secret() -> str:
    return services.add("engine", "engine-1").secret
