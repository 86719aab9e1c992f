"""What every test of the project shares."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The machine is shared and slow at times: an example's own duration says nothing.
settings.register_profile(
    "hub", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("hub")

pytest_plugins = ["tests.services"]


@pytest.fixture(autouse=True)
def records_end_with_the_test(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Rows that a test reported are stored, and its threads ended, before the next one begins.

    Where a test's own transaction is rolled back they are not stored at all: the recorder has a
    connection of its own, so its rows would be there for all tests that follow.
    """
    from security import database, recorder  # noqa: PLC0415 - Django's settings come first

    if not _commits(request):
        monkeypatch.setattr(recorder, "_commit", lambda *_rows, **_again: None)
    yield
    recorder.shutdown(5.0)
    database.shutdown()


def _commits(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("django_db")
    return "transactional_db" in request.fixturenames or bool(
        marker and marker.kwargs.get("transaction")
    )
