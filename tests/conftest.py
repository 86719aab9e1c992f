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
def records_end_with_the_test() -> Iterator[None]:
    """Rows that a test reported are stored, and its threads ended, before the next one begins."""
    yield
    from security import database, recorder  # noqa: PLC0415 - pure tests run without Django

    recorder.shutdown(5.0)
    database.shutdown()
