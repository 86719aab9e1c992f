"""The goodbye of each close code: what the client is told, and whether it is stopped."""

import json

import pytest

from realtime.goodbye import CLOSE_CODES, goodbye_frames

COMES_BACK = {1001, 1009, 1011, 1012, 4408, 4410, 4429}
STAYS_AWAY = {4400, 4401, 4403, 4409}


def body(code: int, **options: int) -> dict[str, object]:
    event = str(goodbye_frames("/", code, "because", **options)[0])
    name, said = json.loads(event[2:])
    assert name == "goodbye"
    return dict(said)


def test_the_table_is_the_contract() -> None:
    assert CLOSE_CODES.keys() == {1000} | COMES_BACK | STAYS_AWAY


@pytest.mark.parametrize("code", sorted(STAYS_AWAY))
def test_no_is_followed_by_a_disconnect_which_stops_stock_clients(code: int) -> None:
    assert goodbye_frames("/engine", code, "no")[1:] == ("41/engine,",)
    assert body(code) == {"code": code, "reason": "because", "retry_after_ms": None}


@pytest.mark.parametrize("code", sorted(COMES_BACK))
def test_come_back_is_followed_by_nothing_and_says_when(code: int) -> None:
    least = CLOSE_CODES[code].retry_after_ms
    assert len(goodbye_frames("/", code, "later")) == 1
    assert least is not None
    assert least <= body(code)["retry_after_ms"] <= 3 * least  # type: ignore[operator]  # a number


def test_pauses_are_spread_so_that_not_everybody_comes_back_at_once() -> None:
    assert len({str(body(1012)["retry_after_ms"]) for _ in range(50)}) > 10


def test_a_crowd_is_spread_over_as_many_seconds_as_it_takes_to_come_back() -> None:
    pauses = [int(str(body(1012, crowd=2_000)["retry_after_ms"])) for _ in range(400)]
    assert min(pauses) >= 500
    assert 8_000 < max(pauses) <= 500 + 10_000
    assert max(int(str(body(1012, crowd=10**6)["retry_after_ms"])) for _ in range(50)) <= 30_500


def test_a_pause_that_is_known_better_replaces_that_of_the_code() -> None:
    assert body(4429, retry_after_ms=300_000)["retry_after_ms"] >= 300_000  # type: ignore[operator]  # a number


def test_a_code_that_nobody_declared_reads_as_our_own_fault() -> None:
    assert body(4999)["retry_after_ms"] is not None
