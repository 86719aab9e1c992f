"""System checks of the engine app; each id is explained in docs/checks.md."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from engine.adapter import SchemaChanged, load_schema
from engine.leases import LEASE_S
from security.checks import see

__all__ = ["check_contract"]

BEATS_IN_A_LEASE = 3  # two may be lost before work is taken away


@register()
def check_contract(**_asked: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """The frozen schema, and a heartbeat that leases can live by."""
    return [*_schema(), *_heartbeat()]


def _schema() -> Iterator[CheckMessage]:
    try:
        load_schema()
    except SchemaChanged as changed:
        yield Error(f"{changed}.", hint=see("hub.E040"), id="hub.E040")


def _heartbeat() -> Iterator[CheckMessage]:
    shortest, beat = min(LEASE_S.values()), settings.HUB.engine_heartbeat_s
    if beat * BEATS_IN_A_LEASE > shortest:
        message = f"HUB_ENGINE_HEARTBEAT_S ({beat:g}) must be a third of {shortest} s or less."
        yield Error(message, hint=see("hub.E041"), id="hub.E041")
