"""Records are read only, and what peers wrote in them is escaped."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from security.models import AuditEntry, User
from tests.security.admin.admin_bench import AT, act, record

pytestmark = pytest.mark.django_db


RECORDS = ["violation", "auditentry"]


@pytest.mark.parametrize("model", RECORDS)
def test_nobody_can_add_change_or_delete_a_record(root: Client, model: str) -> None:
    if model == "violation":
        row: Any = record()
    else:
        row = AuditEntry(at=AT, action="connected", writer="w", prev_hash="", hash="h")
        row.save()
    assert root.get(reverse(f"admin:security_{model}_add")).status_code == 403
    change = reverse(f"admin:security_{model}_change", args=[row.pk])
    assert root.get(change).status_code == 200
    assert root.post(change, {"principal": "user:2"}).status_code == 403
    delete = reverse(f"admin:security_{model}_delete", args=[row.pk])
    assert root.post(delete, {"post": "yes"}).status_code == 403
    act(root, model, "delete_selected", row)
    assert type(row).objects.count() == 1


def test_the_list_of_violations_shows_counts_and_links_to_the_person(
    root: Client, ada: User
) -> None:
    record(ada.pk)
    page = root.get(reverse("admin:security_violation_changelist")).content.decode()
    assert ">17<" in page
    assert reverse("admin:security_user_change", args=[ada.pk]) in page


def test_what_a_peer_wrote_is_escaped(root: Client) -> None:
    nasty = "<script>alert(1)</script>\u202e"
    row = record(event_type=nasty, detail={"seen": nasty})
    for address in (
        reverse("admin:security_violation_changelist"),
        reverse("admin:security_violation_change", args=[row.pk]),
    ):
        assert "<script>alert" not in root.get(address).content.decode()
    page = root.get(reverse("admin:security_violation_change", args=[row.pk])).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in page


@pytest.mark.parametrize("model", RECORDS)
@pytest.mark.parametrize("query", ["q=user", "action=connected", "kind=x&severity=high"])
def test_records_can_be_searched_and_filtered(root: Client, model: str, query: str) -> None:
    address = reverse(f"admin:security_{model}_changelist")
    assert root.get(f"{address}?{query}").status_code in (200, 302)
