"""Buckets admit their rate and burst, budgets are spent, penalties end, memory is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.limits import (
    LONGEST_RETRY_MS,
    AddressBuckets,
    Budget,
    Budgets,
    Penalties,
    TokenBucket,
)

# -- token buckets


def test_a_new_bucket_admits_its_burst_and_then_tells_when_to_come_back() -> None:
    bucket = TokenBucket(50, 100, now=10.0)
    assert [bucket.take(10.0) for _ in range(100)] == [0] * 100
    assert bucket.take(10.0) == 20
    assert bucket.take(10.019) == 1
    assert bucket.take(10.021) == 0


def test_a_bucket_saves_up_no_more_than_its_burst() -> None:
    bucket = TokenBucket(50, 100)
    bucket.take(0.0, 100)
    assert sum(bucket.take(3_600.0) == 0 for _ in range(500)) == 100


def test_a_refusal_takes_no_tokens() -> None:
    bucket = TokenBucket(10, 10)
    assert bucket.take(0.0, 4) == 0
    assert bucket.take(0.0, 7) > 0
    assert bucket.take(0.0, 6) == 0


def test_a_rate_of_zero_answers_the_longest_wait() -> None:
    bucket = TokenBucket(0, 1)
    assert bucket.take(0.0) == 0
    assert bucket.take(1e9) == LONGEST_RETRY_MS


@given(
    rate=st.floats(0.5, 300_000),
    burst=st.integers(1, 1_500),
    takes=st.lists(st.tuples(st.floats(0, 5), st.floats(0.001, 1)), min_size=1, max_size=40),
)
def test_a_bucket_never_admits_more_than_burst_and_rate_and_its_waits_are_true(
    rate: float, burst: int, takes: list[tuple[float, float]]
) -> None:
    bucket, now, admitted = TokenBucket(rate, burst), 0.0, 0.0
    for pause, share in takes:
        now += pause
        n = max(1.0, burst * share)
        wait = bucket.take(now, n)
        if wait:
            now += (wait + 1) / 1_000  # a millisecond for rounding
            assert bucket.take(now, n) == 0
        admitted += n
        assert admitted <= (burst + rate * now) * (1 + 1e-9)


# -- budgets


def test_a_budget_of_ten_bears_ten_points_and_is_spent_by_the_eleventh() -> None:
    budget = Budget(10)
    assert [budget.charge(1, 0.0) for _ in range(10)] == [False] * 10
    assert budget.charge(1, 0.0) is True


def test_points_are_given_back_after_sixty_seconds_each_at_its_own_time() -> None:
    budget = Budget(10)
    budget.charge(6, 0.0)
    budget.charge(3, 30.0)
    assert budget.charge(0, 59.9) is False
    assert budget.charge(3, 60.0) is False
    assert budget.charge(5, 89.9) is True


def test_free_refusals_never_spend_a_budget_and_cost_no_memory() -> None:
    budget = Budget(0)
    assert not any(budget.charge(0, float(second)) for second in range(1_000))
    assert len(budget._charged) == 0


def test_a_spent_budget_keeps_nothing_more() -> None:
    budget = Budget(10)
    for _ in range(10_000):
        budget.charge(1, 1.0)
    assert len(budget._charged) == 11


def test_each_key_has_a_budget_of_its_own() -> None:
    budgets = Budgets(2)
    assert [budgets.charge("s1", 1, 0.0) for _ in range(3)] == [False, False, True]
    assert budgets.charge("s2", 1, 0.0) is False


def test_budgets_are_bounded_and_the_least_recently_charged_goes_first() -> None:
    budgets = Budgets(2, capacity=2)
    for key in ("s1", "s2", "s1", "s3"):
        budgets.charge(key, 1, 0.0)
    assert len(budgets) == 2
    assert budgets.charge("s1", 1, 0.0) is True  # kept all three; s2 would begin anew
    assert budgets.charge("s2", 1, 0.0) is False


# -- penalties


def test_a_penalty_ends_by_itself_and_is_forgotten() -> None:
    penalties = Penalties()
    penalties.punish("session-1", until=60.0)
    assert penalties.is_penalised("session-1", 0.5) == 59_500
    assert penalties.is_penalised("session-2", 0.5) == 0
    assert penalties.is_penalised("session-1", 60.0) == 0
    assert len(penalties) == 0


def test_a_second_penalty_never_shortens_the_first() -> None:
    penalties = Penalties()
    penalties.punish("session", until=60.0)
    penalties.punish("session", until=30.0)
    assert penalties.is_penalised("session", 0.0) == 60_000


def test_penalties_beyond_the_bound_let_off_the_oldest() -> None:
    penalties = Penalties(capacity=3)
    for number in range(5):
        penalties.punish(number, until=60.0 + number)
    assert [penalties.is_penalised(number, 0.0) > 0 for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


# -- addresses


def test_each_address_has_a_bucket_and_a_v6_network_shares_one() -> None:
    buckets = AddressBuckets(1, 2)
    assert [buckets.take("192.0.2.1", 0.0) for _ in range(3)] == [0, 0, 1_000]
    assert buckets.take("192.0.2.2", 0.0) == 0
    assert buckets.take("::ffff:192.0.2.1", 0.0) == 1_000
    assert [buckets.take(f"2001:db8::{number}", 0.0) for number in (1, 2, 3)] == [0, 0, 1_000]
    assert buckets.take("2001:db8:0:1::1", 0.0) == 0


def test_buckets_that_are_full_again_are_forgotten() -> None:
    buckets = AddressBuckets(1, 2)
    for number in range(100):
        buckets.take(f"192.0.2.{number}", 0.0)
    assert len(buckets) == 100
    for second in range(60):
        buckets.take("198.51.100.1", 10.0 + second)
    assert len(buckets) == 1


def test_when_all_buckets_are_in_use_newcomers_share_one_and_others_keep_theirs() -> None:
    buckets = AddressBuckets(1, 2, capacity=10)
    for number in range(10):
        buckets.take(f"192.0.2.{number}", 0.0)
    assert [buckets.take(f"203.0.113.{number}", 0.0) for number in range(3)] == [0, 0, 1_000]
    assert buckets.take("192.0.2.5", 0.0) == 0
    assert len(buckets) == 10


@pytest.mark.parametrize("ip", [None, "", "not an address"])
def test_what_is_no_address_is_limited_as_one(ip: str | None) -> None:
    buckets = AddressBuckets(1, 1)
    assert buckets.take(ip, 0.0) == 0
    assert buckets.take("unix:/socket", 0.0) == 1_000
