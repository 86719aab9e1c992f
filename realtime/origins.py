"""Which pages may connect: an exact allow-list of origins, the same on every transport.

A page of the hub's own host is always allowed; the host must be one that Django serves
(``ALLOWED_HOSTS``), or a rebound DNS name would be its own origin.
"""

from collections.abc import Collection
from typing import Final

from django.http.request import split_domain_port, validate_host

__all__ = ["is_allowed", "own_origin"]

SAME_ORIGIN: Final = "same-origin"


def own_origin(host: str, *, secure: bool, allowed_hosts: Collection[str]) -> str | None:
    """The hub's origin as this request addressed it; None if it is no host of ours."""
    domain, _port = split_domain_port(host)
    if not domain or not validate_host(domain, list(allowed_hosts)):
        return None
    return f"{'https' if secure else 'http'}://{host.lower()}"


def is_allowed(
    origin: str | None,
    *,
    own: str | None,
    listed: Collection[str],
    missing_allowed: bool,
    site: str | None = None,
) -> bool:
    """Whether a connection with this Origin header may go on. Native clients send none.

    Nor do browsers with a GET to the page's own host, which a poll is; where they trust the
    connection (https, or this machine) they say ``same-origin`` in Sec-Fetch-Site (Fetch Metadata),
    given here as ``site``. No page can set either header.
    """
    if origin is None:
        return missing_allowed or (site == SAME_ORIGIN and own is not None)
    return origin in listed or (own is not None and origin == own)
