"""What the tests of login sessions share: a person, and what was said of sessions that ended."""

from collections.abc import Iterator
from typing import Any

import pytest

from security.models import User
from security.signals import service_ended, sessions_ended


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="correct horse")


@pytest.fixture
def ended(django_capture_on_commit_callbacks: Any) -> Iterator[list[dict[str, Any]]]:
    """What the signal said; read it after the block that the test makes with ``committed``."""
    heard: list[dict[str, Any]] = []

    def hear(**facts: Any) -> None:
        heard.append({key: facts[key] for key in facts if key not in ("signal", "sender")})

    sessions_ended.connect(hear)
    service_ended.connect(hear)
    yield heard
    sessions_ended.disconnect(hear)
    service_ended.disconnect(hear)


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Any:
    return lambda: django_capture_on_commit_callbacks(execute=True)
