"""Addresses: a forwarded address counts only as far as trusted proxies wrote it."""

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from security.addresses import address_group, address_of, client_address, networks
from security.conf import BadSetting

PROXIES = networks(["10.0.0.0/8", "fd00::/8"])


def test_without_proxies_the_header_is_ignored() -> None:
    assert client_address("203.0.113.9", "198.51.100.1", ()) == "203.0.113.9"


def test_a_forged_header_from_an_untrusted_peer_is_ignored() -> None:
    assert client_address("203.0.113.9", "198.51.100.1", PROXIES) == "203.0.113.9"


def test_behind_a_trusted_proxy_the_forwarded_address_counts() -> None:
    assert client_address("10.0.0.1", "198.51.100.1", PROXIES) == "198.51.100.1"


def test_the_rightmost_untrusted_hop_is_the_client() -> None:
    forwarded = "1.2.3.4, 198.51.100.1, 10.9.9.9"
    assert client_address("10.0.0.1", forwarded, PROXIES) == "198.51.100.1"


def test_where_all_hops_are_trusted_the_first_is_the_client() -> None:
    assert client_address("10.0.0.1", "10.2.2.2, 10.3.3.3", PROXIES) == "10.2.2.2"


@pytest.mark.parametrize("junk", ["", "unknown", "1.2.3.4:80", "<script>", "1.2.3.4, x"])
def test_a_hop_that_is_no_address_ends_the_search(junk: str) -> None:
    assert client_address("10.0.0.1", junk, PROXIES) == "10.0.0.1"


def test_without_a_peer_there_is_no_address() -> None:
    assert client_address(None, "198.51.100.1", PROXIES) == ""


def test_ipv4_inside_ipv6_is_ipv4_for_the_trust_as_well() -> None:
    assert client_address("::ffff:10.0.0.1", "198.51.100.1", PROXIES) == "198.51.100.1"


def test_a_zone_is_dropped() -> None:
    assert client_address("fe80::1%<script>", None, ()) == "fe80::1"


@given(st.text(), st.text())
def test_no_text_can_raise_or_become_anything_but_an_address(peer: str, forwarded: str) -> None:
    seen = client_address(peer, forwarded, PROXIES)
    assert seen == "" or client_address(seen, None, ()) == seen


def test_ipv6_is_grouped_by_64_bits_and_ipv4_by_address() -> None:
    assert address_group("2001:db8::1") == address_group("2001:db8::ffff:1") == "2001:db8::/64"
    assert address_group("198.51.100.1") == "198.51.100.1"


def test_a_setting_that_is_no_network_is_named() -> None:
    with pytest.raises(BadSetting, match="HUB_TRUSTED_PROXIES"):
        networks(["10.0.0.0/99"])


def test_the_address_of_a_request_ignores_the_header_by_default() -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="::1", HTTP_X_FORWARDED_FOR="198.51.100.1")
    assert address_of(request) == "::1"
