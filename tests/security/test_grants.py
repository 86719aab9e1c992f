"""Rooms are granted to agents, by names that people can join, and changes are announced."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Model

from security import grants, services
from security.grants import BadRoom, NoAgent
from security.models import RoomGrant, ServiceAccount
from security.services import ServiceExists, ServiceUnknown
from security.signals import service_ended

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent() -> ServiceAccount:
    return services.add("agent", "coach").account


@pytest.fixture
def ended() -> Iterator[list[str]]:
    """Whose sockets have to go, and why."""
    heard: list[str] = []

    def hear(kind: str, name: str, because: str, **_facts: Any) -> None:
        heard.append(f"{kind}:{name} {because}")

    service_ended.connect(hear)
    yield heard
    service_ended.disconnect(hear)


@pytest.mark.usefixtures("agent")
def test_an_agent_hears_what_was_granted_and_not_taken() -> None:
    assert grants.rooms_of("coach") == []
    assert grants.grant("agent", "coach", ["lobby", "garden", "lobby"]) == ["garden", "lobby"]
    assert grants.grant("agent", "coach", ["lobby"]) == ["garden", "lobby"]
    assert grants.revoke("agent", "coach", ["lobby", "never-granted"]) == ["garden"]
    assert grants.rooms_of("coach") == ["garden"]
    assert grants.rooms_of("nobody") == []


def test_an_agent_can_be_added_with_its_rooms() -> None:
    new = grants.add_with_rooms("agent", "coach", ["lobby"])
    assert services.secret_of_account(new.account) is not None
    assert grants.rooms_of("coach") == ["lobby"]
    with pytest.raises(ServiceExists):
        grants.add_with_rooms("agent", "coach", ["garden"])
    assert grants.rooms_of("coach") == ["lobby"]


@pytest.mark.parametrize(
    "room", ["", "hub:everybody", "hub:staff", "Lobby", "a b", "lobby\n", "é", "a" * 65, ":"]
)
@pytest.mark.usefixtures("agent")
def test_what_people_cannot_join_is_granted_to_nobody(room: str) -> None:
    with pytest.raises(BadRoom, match="is no room"):
        grants.grant("agent", "coach", ["lobby", room])
    assert grants.rooms_of("coach") == []
    with pytest.raises(BadRoom):
        grants.add_with_rooms("agent", "other", [room])
    assert not ServiceAccount.objects.filter(name="other").exists()


@pytest.mark.parametrize("room", ["hub:staff", ""])
def test_the_database_refuses_the_hubs_own_rooms_as_well(agent: Model, room: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        RoomGrant.objects.create(account=agent, room=room)


def test_engines_hear_no_rooms() -> None:
    services.add("engine", "coach")
    for change in (grants.grant, grants.revoke):
        with pytest.raises(NoAgent, match="only agents hear rooms"):
            change("engine", "coach", ["lobby"])
        with pytest.raises(ServiceUnknown):
            change("agent", "coach", ["lobby"])
    assert grants.rooms_of("coach") == []


@pytest.mark.usefixtures("agent")
def test_a_change_ends_the_agents_sockets_after_the_commit(
    ended: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        grants.grant("agent", "coach", ["lobby"])
        assert ended == []
    with django_capture_on_commit_callbacks(execute=True):
        grants.revoke("agent", "coach", ["lobby"])
    assert ended == ["agent:coach rooms_changed"] * 2


@pytest.mark.usefixtures("agent")
def test_what_changes_nothing_ends_nothing(
    ended: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    grants.grant("agent", "coach", ["lobby"])
    with django_capture_on_commit_callbacks(execute=True):
        grants.grant("agent", "coach", ["lobby"])
        grants.revoke("agent", "coach", ["garden"])
    assert ended == []
