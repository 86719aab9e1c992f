"""Whatever happens in whatever order: every job ends once, and its owner is told all of it."""

import pytest

from tests.engine.lives import live

pytestmark = pytest.mark.django_db

EXAMPLES = 10  # ``python -m tests.engine.lives`` lives thousands
STEPS = 25


@pytest.mark.timeout(300)
def test_the_promises_hold_after_every_deed_of_every_life() -> None:
    live(examples=EXAMPLES, steps=STEPS)
