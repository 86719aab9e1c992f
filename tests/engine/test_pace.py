"""What was made for a person is owed before more is made."""

import pytest

from engine.pace import REFUSED_WORLD, Pace
from security.conf import HubSettings
from security.refusals import Refused

ADA, GRACE = 1, 2


@pytest.fixture
def pace() -> Pace:
    return Pace(HubSettings(jobs_per_s=10.0, job_burst=100))


def wait_ms(pace: Pace, user_id: int, now: float) -> int:
    try:
        pace.admit(user_id, now)
    except Refused as refused:
        return refused.retry_after_ms or 0
    return 0


def test_what_was_made_is_paid_with_time(pace: Pace) -> None:
    assert wait_ms(pace, ADA, 0.0) == 0
    pace.made(ADA, {"jobs": [{}] * 199}, 0.0)
    assert wait_ms(pace, ADA, 0.0) == 10_100
    assert wait_ms(pace, ADA, 10.0) == 100
    assert wait_ms(pace, ADA, 10.2) == 0


def test_who_owes_is_told_so(pace: Pace) -> None:
    pace.owe(ADA, 1_000, 0.0)
    with pytest.raises(Refused, match="rate_limited") as caught:
        pace.admit(ADA, 0.0)
    assert caught.value.detail["reason"] == "jobs"


def test_nobody_pays_for_another(pace: Pace) -> None:
    pace.owe(ADA, 1_000, 0.0)
    assert wait_ms(pace, GRACE, 0.0) == 0


def test_a_person_who_owes_is_not_forgotten_and_saves_up_no_more_than_the_burst(
    pace: Pace,
) -> None:
    pace.owe(ADA, REFUSED_WORLD, 0.0)
    pace.owe(ADA, 100, 1_000.0)
    assert wait_ms(pace, ADA, 1_000.0) == 100


def test_a_reply_without_jobs_costs_what_asking_costs(pace: Pace) -> None:
    for _ in range(100):
        pace.admit(ADA, 0.0)
        pace.made(ADA, {}, 0.0)
    assert wait_ms(pace, ADA, 0.0) == 100
