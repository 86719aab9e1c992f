"""CORS headers: for the listed origins, each exactly, and for no other."""

import pytest

from realtime.cors import Cors

PAGE = "https://page.example"


def test_a_listed_page_is_named_and_caches_are_told_that_it_matters() -> None:
    said = dict(Cors(origins=[PAGE]).headers(PAGE))
    assert said == {b"vary": b"Origin", b"access-control-allow-origin": PAGE.encode()}


@pytest.mark.parametrize("origin", [None, "null", "https://page.example.evil", "*", f"{PAGE}/"])
def test_any_other_page_is_not(origin: str | None) -> None:
    assert Cors(origins=[PAGE], credentials=True).headers(origin) == [(b"vary", b"Origin")]


def test_credentials_are_allowed_where_they_are_wanted() -> None:
    said = dict(Cors(origins=[PAGE], credentials=True).headers(PAGE))
    assert said[b"access-control-allow-credentials"] == b"true"
    assert b"access-control-allow-credentials" not in dict(Cors(origins=[PAGE]).headers(PAGE))


@pytest.mark.parametrize("asked", [None, "x-one, x-two"])
def test_a_preflight_allows_polls_and_pushes_with_the_headers_asked_for(asked: str | None) -> None:
    said = dict(Cors(origins=[PAGE]).preflight(asked))
    assert said[b"access-control-allow-methods"] == b"GET, POST"
    assert said.get(b"access-control-allow-headers") == (asked.encode() if asked else None)
