"""Every page of the admin can be read, with rows on it: also on PostgreSQL, whose SQL differs."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from engine.models import Build
from security import audit, services
from tests.engine.conftest import Bench

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("admin", password="x"))
    return client


def test_every_list_and_the_first_row_of_it_can_be_read(staff: Client) -> None:
    bench = Bench()
    services.add("engine", "forge")
    bench.engine("forge")
    bench.submit(entities=1)
    bench.run_all()
    audit.append("tested", principal="user:1")
    assert staff.get(reverse("admin:index")).status_code == 200
    for model in admin.site._registry:
        read(staff, model)
    assert Build.objects.get().state == "completed"


def read(staff: Client, model: Any) -> None:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    listed = staff.get(reverse(f"{name}_changelist"))
    assert listed.status_code == 200, model
    first = model._default_manager.first() if model._meta.managed else None
    if first is not None:
        assert staff.get(reverse(f"{name}_change", args=[first.pk])).status_code == 200, model
