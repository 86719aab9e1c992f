"""The hub does not start with another contract, or with heartbeats too rare for its leases."""

import dataclasses
from typing import Any

import pytest
from django.core.checks import ERROR

from engine import checks
from engine.adapter import SchemaChanged


def test_the_hubs_own_contract_passes() -> None:
    assert checks.check_contract() == []


def test_another_schema_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed() -> None:
        raise SchemaChanged("ab" * 32)

    monkeypatch.setattr(checks, "load_schema", changed)
    (message,) = checks.check_contract()
    assert (message.id, message.level) == ("hub.E040", ERROR)


@pytest.mark.parametrize(("beat", "found"), [(3.3, []), (3.4, ["hub.E041"])])
def test_a_heartbeat_is_a_third_of_the_shortest_lease(
    beat: float, found: list[str], settings: Any
) -> None:
    settings.HUB = dataclasses.replace(settings.HUB, engine_heartbeat_s=beat)
    assert [message.id for message in checks.check_contract()] == found
