"""The first page of the admin shows a day of refusals, the work, the engines: to whom may see."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from hubsite import overview
from security.models import DrillRun, User, Violation

NOON = datetime(2026, 11, 22, 12, 34, 56, tzinfo=UTC)
HOUR = NOON.replace(minute=0, second=0)

counts = st.dictionaries(
    st.tuples(
        st.integers(0, overview.HOURS - 1).map(lambda back: HOUR - timedelta(hours=back)),
        st.sampled_from(overview.SEVERITIES),
    ),
    st.integers(1, 10**9),
)


@given(counts)
def test_bars_count_everything_and_never_leave_the_drawing(
    counted: dict[tuple[datetime, str], int],
) -> None:
    drawn = overview.bars(counted, until=NOON)
    assert [bar.hour for bar in drawn] == [
        HOUR - timedelta(hours=back) for back in reversed(range(overview.HOURS))
    ]
    assert sum(bar.total for bar in drawn) == sum(counted.values())
    for bar in drawn:
        assert all(part.y >= -0.01 and part.height >= 0 for part in bar.segments)
        assert sum(part.height for part in bar.segments) <= overview.HEIGHT + 0.02
    tallest = max((sum(part.height for part in bar.segments) for bar in drawn), default=0)
    assert not counted or tallest == pytest.approx(overview.HEIGHT, abs=0.05)


def test_a_day_without_refusals_has_hours_and_no_segments() -> None:
    drawn = overview.bars({}, until=NOON)
    assert len(drawn) == overview.HOURS
    assert not any(bar.segments for bar in drawn)


def refused(kind: str, *, count: int, at: datetime, severity: str = "medium") -> None:
    Violation.objects.create(
        at=at, kind=kind, severity=severity, count=count, first_at=at, last_at=at
    )


@pytest.mark.django_db
def test_refusals_are_summed_by_their_counts_and_the_day_before_is_left_out() -> None:
    now = timezone.now()
    refused("replay_detected", count=40, at=now, severity="high")
    refused("malformed", count=2, at=now)
    refused("malformed", count=1, at=now - timedelta(hours=3))
    refused("malformed", count=7_000, at=now - timedelta(hours=25))
    seen = overview.overview(User.objects.create_superuser("boss"), now).refusals
    assert seen is not None
    assert (seen.total, seen.kinds) == (43, (("replay_detected", 40), ("malformed", 3)))
    assert [bar.total for bar in seen.bars if bar.total] == [1, 42]


@pytest.mark.django_db
def test_staff_see_the_parts_that_they_may(client: Client) -> None:
    now = timezone.now()
    refused("replay_detected", count=3, at=now)
    DrillRun.objects.create(at=now, url="http://hub", scenarios=55, gaps=2, report={})
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    assert "hub-overview" not in client.get("/admin/").content.decode()
    clerk.user_permissions.add(Permission.objects.get(codename="view_violation"))
    page = client.get("/admin/").content.decode()
    assert "?kind=replay_detected" in page
    assert "Last security drill" not in page
    client.force_login(User.objects.create_superuser("boss"))
    page = client.get("/admin/").content.decode()
    assert "No engine connected." in page
    assert "2 gaps" in page
