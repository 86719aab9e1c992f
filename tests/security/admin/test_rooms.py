"""Staff grant agents the rooms that people can join."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from security import grants, services
from security.models import RoomGrant

pytestmark = pytest.mark.django_db


def test_staff_grant_rooms_that_people_can_join(root: Client, entries: Any) -> None:
    agent = services.add("agent", "coach").account
    add = reverse("admin:security_roomgrant_add")
    refused = root.post(add, {"account": agent.pk, "room": "hub:staff"})
    assert "is no room" in refused.content.decode()
    assert not RoomGrant.objects.exists()
    assert root.post(add, {"account": agent.pk, "room": "lobby"}).status_code == 302
    grant = RoomGrant.objects.get()
    assert entries == [("staff_added", f"roomgrant:{grant.pk}")]
    listed = root.get(reverse("admin:security_serviceaccount_changelist")).content.decode()
    assert "lobby" in listed


def test_rooms_are_granted_to_agents_only(root: Client) -> None:
    engine = services.add("engine", "forge").account
    root.post(reverse("admin:security_roomgrant_add"), {"account": engine.pk, "room": "lobby"})
    assert not RoomGrant.objects.exists()


def test_staff_take_rooms_back(root: Client, entries: Any) -> None:
    services.add("agent", "coach")
    grants.grant("agent", "coach", ["lobby"])
    grant = RoomGrant.objects.get()
    delete = reverse("admin:security_roomgrant_delete", args=[grant.pk])
    root.post(delete, {"post": "yes"})
    assert not RoomGrant.objects.exists()
    assert entries == [("staff_deleted", f"roomgrant:{grant.pk}")]


def test_who_may_only_look_grants_nothing(viewer: Client) -> None:
    agent = services.add("agent", "coach").account
    add = reverse("admin:security_roomgrant_add")
    assert viewer.post(add, {"account": agent.pk, "room": "lobby"}).status_code == 403
    assert viewer.get(reverse("admin:security_roomgrant_changelist")).status_code == 200
    assert not RoomGrant.objects.exists()
