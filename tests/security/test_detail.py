"""Details are small, visible, free of secrets, and the same after any database."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.detail import (
    DETAIL_BYTES,
    SECRET_KEYS,
    SecretInDetail,
    bounded,
    network_of,
    regular_ip,
    visible,
)

HOSTILE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=40,
)


def has_no_secret(value: object) -> bool:
    if isinstance(value, dict):
        return all(
            key.lower() not in SECRET_KEYS and has_no_secret(each) for key, each in value.items()
        )
    return not isinstance(value, list) or all(has_no_secret(each) for each in value)


@given(st.dictionaries(st.text(), HOSTILE, max_size=40).filter(has_no_secret))
def test_any_detail_becomes_small_visible_json(detail: dict[str, Any]) -> None:
    text = json.dumps(bounded(detail), allow_nan=False)
    assert len(text) <= DETAIL_BYTES
    assert all(each.isprintable() for each in _texts(json.loads(text)))


def test_a_small_detail_is_kept_as_it_is() -> None:
    detail = {"reason": "nonce_used", "seen": 17, "ratio": 0.25, "list": [1, None, True, "a b"]}
    assert bounded(detail) == detail


def test_a_large_detail_is_cut_and_says_so() -> None:
    shown = bounded({"origin": "x" * 100_000, "seen": list(range(1_000)), "kept": "yes"})
    assert shown["truncated"] is True
    assert shown["kept"] == "yes"
    assert str(shown["origin"]).endswith("…")


def test_a_detail_of_hostile_depth_ends_early() -> None:
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    assert bounded({"deep": deep})["truncated"] is True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>", "<script>"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb", "a\\r\\nb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\x00b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        ("x" * 21, "x" * 19 + "…"),
    ],
)
def test_nothing_in_a_text_acts(text: str, shown: str) -> None:
    assert visible(text, 20) == shown


@pytest.mark.parametrize("key", ["token", "Signature", "SIG", "secret", "password", "payload"])
def test_a_key_that_names_a_secret_is_refused_at_any_depth(key: str) -> None:
    with pytest.raises(SecretInDetail, match=key):
        bounded({key: "x"})
    with pytest.raises(SecretInDetail, match=key):
        bounded({"seen": [{"inner": {key: "x"}}]})


@pytest.mark.parametrize(
    ("given_number", "kept"),
    [
        (1.0, 1),
        (0.1, 0.1),
        (-0.0, 0),
        (1e22, "1e+22"),
        (float("nan"), "nan"),
        (10**30, hex(10**30)),
    ],
)
def test_numbers_that_databases_spell_differently_become_text(
    given_number: float, kept: object
) -> None:
    shown = bounded({"n": given_number})["n"]
    assert (shown, type(shown)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("ip", "regular", "network"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:5::1", "2001:db8:0:5::1", "2001:db8:0:5::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("nowhere", None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_an_address_has_one_spelling(ip: str | None, regular: str | None, network: str) -> None:
    assert regular_ip(ip) == regular
    assert network_of(ip) == network


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for each in item for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []
