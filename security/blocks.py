"""Blocks: staff keep a person or a service out for a time.

Whoever is blocked is refused with PENALTY at every socket and request that shows a token, and the
sockets that are open are closed. Nothing else ends: tokens, sessions and work are as before when
the time is over. An address cannot be blocked here; that is the proxy's business.

    NotBlockable    the principal is neither a person nor a service
"""

import re
from datetime import datetime
from typing import Final

from django.db import transaction

from security.models import Block
from security.signals import announce_service_ended, announce_sessions_ended

__all__ = ["NotBlockable", "block", "is_blockable", "is_blocked"]

PERSON: Final = re.compile(r"user:([0-9]{1,18})")
SERVICE: Final = re.compile(r"(engine|agent):([A-Za-z0-9_.-]{1,64})")


class NotBlockable(ValueError):
    """The principal is an address or nobody."""

    def __init__(self, principal: str) -> None:
        self.principal = principal
        super().__init__(principal)

    def __str__(self) -> str:
        return f"{self.principal or 'nobody'} is neither a person nor a service"


def is_blockable(principal: str) -> bool:
    """Whether it is a person or a service."""
    return bool(PERSON.fullmatch(principal) or SERVICE.fullmatch(principal))


def is_blocked(principal: str, at: datetime) -> bool:
    """Whether somebody is kept out at a time."""
    return Block.objects.holding(at).filter(principal=principal).exists()


def block(principal: str, *, until: datetime, by: str, reason: str = "") -> Block:
    """Keep a principal out, and close its sockets after the commit. Raises NotBlockable."""
    if not is_blockable(principal):
        raise NotBlockable(principal)
    with transaction.atomic():
        made = Block.objects.create(principal=principal, until=until, by=by, reason=reason[:200])
        if person := PERSON.fullmatch(principal):
            announce_sessions_ended(int(person[1]), None, because="blocked")
        elif service := SERVICE.fullmatch(principal):
            announce_service_ended(service[1], service[2], because="blocked")
    return made
