"""Whose address a request comes from, where proxies stand in between.

``X-Forwarded-For`` is a claim by whoever sent it. It counts only as far as it was written by
proxies that ``HUB_TRUSTED_PROXIES`` names: from the right, the first hop that is none of them is
the client.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from django.http import HttpRequest
from rest_framework.request import Request

from security.conf import BadSetting, hub
from security.detail import network_of

__all__ = [
    "Network",
    "address_group",
    "address_of",
    "client_address",
    "is_trusted",
    "networks",
    "trusted",
]

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address


def client_address(peer: str | None, forwarded: str | None, trusted: Sequence[Network]) -> str:
    """The client's address as text; empty where there is none, as on a Unix socket.

    ``peer`` is the address of the connection, ``forwarded`` the header's value. A hop that is no
    address ends the search: nothing to the left of it can be believed.
    """
    client = _address(peer or "")
    hops = [hop.strip() for hop in (forwarded or "").split(",")]
    while client is not None and hops and _within(client, trusted):
        hop = _address(hops.pop())
        if hop is None:
            break
        client = hop
    return str(client or "")


def is_trusted(peer: str | None, trusted: Sequence[Network]) -> bool:
    """Whether the other end of a connection is a proxy that may speak for its clients."""
    address = _address(peer or "")
    return address is not None and _within(address, trusted)


def address_group(address: str) -> str:
    """What limits count by: an IPv4 address, the /64 of an IPv6 address, or ``unknown``."""
    return network_of(address)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse addresses and networks such as ``10.0.0.0/8``. Raises BadSetting."""
    return tuple(_network(text) for text in texts)


def address_of(request: HttpRequest | Request) -> str:
    """The client's address of a request that Django serves."""
    meta = request.META
    return client_address(meta.get("REMOTE_ADDR"), meta.get("HTTP_X_FORWARDED_FOR"), trusted())


def trusted() -> tuple[Network, ...]:
    """What ``HUB_TRUSTED_PROXIES`` names."""
    return _parsed(hub().trusted_proxies)


@cache
def _parsed(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return networks(texts)


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise BadSetting("HUB_TRUSTED_PROXIES", text, "addresses or networks") from None


def _address(text: str) -> Address | None:
    """One spelling per address; a zone (``%eth0``) is free text and means nothing to others."""
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


def _within(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
