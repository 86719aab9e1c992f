"""The limit of failed proofs: a sliding minute that success does not use up."""

import pytest

from security.refusals import Refused
from security.throttle import Attempt, AttemptLimit, attempts, limited


@pytest.fixture(autouse=True)
def fresh() -> None:
    attempts().clear()


def admit(limit: AttemptLimit, now: float, most: int = 3, key: str = "ada") -> Attempt | int:
    return limit.admit({key: most}, now)


def test_the_limit_is_reached_and_the_wait_is_until_the_oldest_leaves_the_window() -> None:
    limit = AttemptLimit()
    assert all(isinstance(admit(limit, float(now)), Attempt) for now in range(3))
    assert admit(limit, 10.0) == 50_000


def test_the_window_slides() -> None:
    limit = AttemptLimit()
    for now in (0.0, 30.0, 59.0):
        admit(limit, now)
    assert isinstance(admit(limit, 60.0), Attempt)
    assert admit(limit, 60.0) == 30_000


def test_a_refused_attempt_does_not_prolong_the_wait() -> None:
    limit = AttemptLimit()
    for _ in range(3):
        admit(limit, 0.0)
    assert admit(limit, 59.0) == 1_000
    assert isinstance(admit(limit, 60.0), Attempt)


def test_a_success_is_forgiven() -> None:
    limit = AttemptLimit()
    for now in range(100):
        attempt = admit(limit, float(now))
        assert isinstance(attempt, Attempt)
        limit.forgive(attempt)


def test_attempts_under_way_count() -> None:
    limit = AttemptLimit()
    for _ in range(3):
        admit(limit, 0.0)
    assert admit(limit, 0.0) == 60_000


def test_keys_do_not_share_a_count_and_a_refusal_counts_under_no_key() -> None:
    limit = AttemptLimit()
    for _ in range(3):
        limit.admit({"ada": 3, "ip": 5}, 0.0)
    assert limit.admit({"ada": 3, "ip": 5}, 0.0) == 60_000
    assert isinstance(limit.admit({"grace": 3, "ip": 5}, 0.0), Attempt)
    assert isinstance(limit.admit({"linus": 3, "ip": 5}, 0.0), Attempt)
    assert limit.admit({"edsger": 3, "ip": 5}, 0.0) == 60_000


def test_memory_is_bounded_and_the_quietest_key_is_forgotten() -> None:
    limit = AttemptLimit(capacity=2)
    for key in ("a", "b", "a", "c"):
        admit(limit, 0.0, 2, key)
    assert admit(limit, 0.0, 2, "a") == 60_000
    assert isinstance(admit(limit, 0.0, 1, "b"), Attempt)


def test_a_limit_of_zero_admits_nobody() -> None:
    assert admit(AttemptLimit(), 0.0, 0) == 60_000


def test_a_block_that_raises_counts_and_one_that_ends_does_not() -> None:
    for now in range(10):
        with pytest.raises(KeyError), limited("ada", "198.51.100.1", now=float(now)):
            raise KeyError
        with limited("grace", "198.51.100.1", now=float(now)):
            pass
    with pytest.raises(Refused) as caught, limited("ada", "198.51.100.1", now=10.0):
        pytest.fail("the eleventh attempt in a minute was let in")
    assert caught.value.code == "rate_limited"
    assert caught.value.retry_after_ms == 50_000
    with limited("ada", "198.51.100.2", now=10.0):
        pass


def test_a_whole_ipv6_network_is_one_address() -> None:
    for host in range(10):
        with pytest.raises(KeyError), limited("ada", f"2001:db8::{host}", now=0.0):
            raise KeyError
    with pytest.raises(Refused), limited("ada", "2001:db8::99", now=0.0):
        pytest.fail("another host of the same network was let in")


def test_sixty_names_from_one_address_are_its_limit() -> None:
    for name in range(60):
        with pytest.raises(KeyError), limited(f"person-{name}", "198.51.100.1", now=0.0):
            raise KeyError
    with pytest.raises(Refused), limited("", "198.51.100.1", now=0.0):
        pytest.fail("the sixty-first attempt in a minute was let in")
