"""Which pages may connect: exact origins, never look-alikes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.origins import is_allowed, own_origin

OWN = "https://hub.example"
LISTED = ("https://console.example:8443",)
HOSTILE = [
    "null",
    "",
    "https://evil.example",
    "http://hub.example",
    "https://hub.example.evil.example",
    "https://evil-hub.example",
    "https://hub.example:444",
    "https://hub.example/",
    "https://hub.example ",
    "HTTPS://hub.example",
    "https://HUB.example",
    "https://hub.example@evil.example",
    "https://hub.exampl\u0435",
    "https://console.example",
    "file://",
    "*",
]


def allowed(origin: str | None, *, missing: bool = True, own: str | None = OWN) -> bool:
    return is_allowed(origin, own=own, listed=LISTED, missing_allowed=missing)


@pytest.mark.parametrize("origin", [OWN, *LISTED])
def test_our_own_and_the_listed_may(origin: str) -> None:
    assert allowed(origin)


@pytest.mark.parametrize("origin", HOSTILE)
def test_look_alikes_may_not(origin: str) -> None:
    assert not allowed(origin)


@given(st.text())
def test_nothing_else_may(origin: str) -> None:
    assert allowed(origin) is (origin in {OWN, *LISTED})


@pytest.mark.parametrize("missing", [True, False])
def test_native_clients_without_an_origin_depend_on_the_setting(missing: bool) -> None:
    assert allowed(None, missing=missing) is missing


def test_where_the_host_is_none_of_ours_no_origin_is_our_own() -> None:
    assert not allowed("https://rebound.example", own=None)


@pytest.mark.parametrize(
    ("host", "secure", "origin"),
    [
        ("hub.example", True, "https://hub.example"),
        ("hub.example", False, "http://hub.example"),
        ("Hub.Example:8000", False, "http://hub.example:8000"),
        ("rebound.example", True, None),
        ("", True, None),
        ("hub.example/path", True, None),
        ("evil.example@hub.example", True, None),
    ],
)
def test_our_own_origin_is_that_of_a_host_we_serve(
    host: str, secure: bool, origin: str | None
) -> None:
    assert own_origin(host, secure=secure, allowed_hosts=["hub.example"]) == origin
