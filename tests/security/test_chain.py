"""One byte string per row, one hash per place in a chain, and no two rows alike by accident."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.chain import GENESIS, NotCanonical, canonical, link

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(
    st.none(),
    TEXT,
    st.integers(),
    st.datetimes(timezones=st.just(UTC)),
    st.dictionaries(TEXT, st.one_of(TEXT, st.integers()), max_size=3),
)
ROWS = st.dictionaries(TEXT, VALUES, max_size=4)


def test_the_bytes_are_the_documented_ones() -> None:
    row = canonical("Violation", {"n": 7, "a": None})
    assert row == (
        b"HUBROW1"
        b"\x00\x00\x00\x09Violation"
        b"\x00\x00\x00\x01a\x00\x00\x00\x01n"
        b"\x00\x00\x00\x01n\x00\x00\x00\x02i7"
    )
    assert link(GENESIS, row) == hashlib.sha256(bytes(32) + row).hexdigest()


def test_values_have_the_documented_forms() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert canonical("T", {"t": at}).endswith(b"t1767312000000000")
    assert canonical("T", {"j": {"b": 1, "a": "é"}}).endswith(b'j{"a":"\\u00e9","b":1}')


def test_nothing_the_empty_text_and_zero_differ() -> None:
    assert len({canonical("T", {"c": value}) for value in (None, "", 0, "0", "n", {})}) == 6


def test_the_order_of_columns_keys_and_the_time_zone_do_not_matter() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    there = at.astimezone(timezone(timedelta(hours=-5)))
    assert canonical("T", {"a": at, "b": {"x": 1, "y": 2}}) == canonical(
        "T", {"b": {"y": 2, "x": 1}, "a": there}
    )


@given(ROWS, ROWS)
def test_rows_that_differ_have_different_bytes(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (canonical("T", one) == canonical("T", other)) == (one == other)


@given(ROWS)
def test_the_hash_depends_on_everything_before_it(row: dict[str, Any]) -> None:
    first = link(GENESIS, canonical("T", row))
    assert first != link(first, canonical("T", row))
    assert first != link(GENESIS, canonical("U", row))


@pytest.mark.parametrize("value", [True, 1.5, b"bytes", datetime(2026, 1, 1), ["list"]])  # noqa: DTZ001 - the naive time is the case
def test_a_value_without_a_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical, match=type(value).__name__):
        canonical("T", {"c": value})
