"""What staff can do about a violation, and what its page explains."""

import html
import re
import time
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from security import services
from security.models import Block, DrillRun, Session, User
from security.sessions import RequestMeta, open_session
from tests.security.admin.admin_bench import AT, NOW, act, record

pytestmark = pytest.mark.django_db


def test_the_sessions_that_violations_name_are_ended(
    root: Client, ada: User, entries: list[Any]
) -> None:
    one, other = (open_session(ada, RequestMeta(), NOW) for _ in range(2))
    act(root, "violation", "end_their_sessions", record(ada.pk, login_session=one.session_id))
    ended = {each.pk: each.revoked_because for each in Session.objects.all()}
    assert ended == {one.session_id: "ended_by_staff", other.session_id: ""}
    assert entries == [("staff_session_ended", f"session:{one.session_id}")]


def test_without_a_session_all_logins_of_the_person_are_ended(
    root: Client, ada: User, entries: list[Any]
) -> None:
    open_session(ada, RequestMeta(), NOW)
    act(root, "violation", "end_their_sessions", record(ada.pk))
    assert Session.objects.get().revoked_at is not None
    assert entries == [("staff_logins_ended", f"user:{ada.pk}")]


def test_people_and_services_are_blocked_for_an_hour_and_addresses_are_not(
    root: Client, ada: User, entries: list[Any]
) -> None:
    rows = [record(ada.pk, principal=name) for name in (f"user:{ada.pk}", "ip:192.0.2.1")]
    asked = act(root, "violation", "block_for_an_hour", *rows, confirmed="").content.decode()
    assert f"<li>user:{ada.pk}</li>" in asked
    assert "<li>ip:192.0.2.1</li>" not in asked
    act(root, "violation", "block_for_an_hour", *rows)
    made = Block.objects.get()
    assert (made.principal, made.by) == (f"user:{ada.pk}", "root")
    assert 3_590 < made.until.timestamp() - time.time() < 3_601
    assert entries == [("staff_blocked", f"user:{ada.pk}")]


def test_where_nothing_can_be_done_there_is_nothing_to_confirm(root: Client) -> None:
    page = act(root, "violation", "block_for_an_hour", record(principal="ip:other"), confirmed="")
    assert "Nothing of what you chose" in page.content.decode()
    assert "Yes, do it" not in page.content.decode()


def test_a_block_is_lifted(root: Client, ada: User, entries: list[Any]) -> None:
    act(root, "violation", "block_for_an_hour", record(principal=f"user:{ada.pk}"))
    made = Block.objects.get()
    act(root, "block", "lift_chosen", made, confirmed="")
    assert Block.objects.get().until == made.until
    act(root, "block", "lift_chosen", made)
    assert Block.objects.get().until.timestamp() <= time.time()
    assert entries[-1] == ("staff_block_lifted", f"block:{made.pk}")


@pytest.mark.parametrize(
    ("form", "first"), [("jsonl", '{"id":'), ("csv", '"id","at",')]
)  # fmt: skip
def test_records_are_exported_with_a_note_in_the_audit(
    root: Client, entries: list[Any], form: str, first: str
) -> None:
    rows = [record(principal=name) for name in ("=cmd()", "user:2")]
    asked = act(root, "violation", "export_chosen", *rows, confirmed="").content.decode()
    assert "2 rows" in asked
    assert entries == []
    response = act(root, "violation", "export_chosen", *rows, confirmed=form)
    body = b"".join(response.streaming_content).decode()
    assert body.startswith(first)
    assert body.count("\n") == 2 + (form == "csv")
    assert ("'=cmd()" in body) == (form == "csv")
    assert response["Content-Disposition"] == f'attachment; filename="violations.{form}"'
    assert entries == [("staff_records_exported", "violations")]


def test_who_may_only_look_can_block_nobody(viewer: Client, entries: list[Any]) -> None:
    row = record(principal="user:1")
    act(viewer, "violation", "block_for_an_hour", row)
    act(viewer, "violation", "end_their_sessions", row)
    assert not Block.objects.exists()
    page = viewer.get(reverse("admin:security_violation_change", args=[row.pk])).content.decode()
    assert "Block for an hour" not in page
    assert entries == []


def test_a_violation_page_explains_it_and_links_to_what_is_related(root: Client, ada: User) -> None:
    row = record(ada.pk, detail={"reason": "nonce_used"}, ip="192.0.2.1")
    page = root.get(reverse("admin:security_violation_change", args=[row.pk])).content.decode()
    assert "A signed message counts once" in page
    assert "nonce_used" in page
    for query in ("principal=user%3A1", "kind=replay_detected", "ip=192.0.2.1"):
        address = reverse("admin:security_violation_changelist") + f"?{query}"
        assert address in page
        assert root.get(address).status_code == 200
    assert "Block for an hour" in page


def test_a_violation_page_leads_to_the_login_and_to_the_account(root: Client, ada: User) -> None:
    login, _ = (open_session(ada, RequestMeta(), NOW) for _ in range(2))
    for name in ("forge-1", "forge-2"):
        services.add("engine", name)
    rows = {
        "session": record(ada.pk, login_session=login.session_id),
        "serviceaccount": record(None, principal="engine:forge-1"),
    }
    for model, row in rows.items():
        page = root.get(reverse("admin:security_violation_change", args=[row.pk])).content.decode()
        (address,) = re.findall(rf'href="(/admin/security/{model}/\?[^"]+)"', page)
        listed = root.get(html.unescape(address)).context["cl"]
        assert (listed.result_count, listed.full_result_count) == (1, 2)


def test_the_list_shows_the_last_day_and_the_last_drill(root: Client) -> None:
    record()
    address = reverse("admin:security_violation_changelist")
    assert "No security drill was run yet" in root.get(address).content.decode()
    results = [{"control": "replay", "scenario": "same message twice", "expected": "no",
                "seen": "no", "held": True}]  # fmt: skip
    drill = DrillRun.objects.create(
        at=AT, url="http://hub", scenarios=1, gaps=0, report={"results": results}
    )
    page = root.get(address).content.decode()
    assert "<polyline" in page
    assert reverse("admin:security_drillrun_change", args=[drill.pk]) in page
    evidence = root.get(reverse("admin:security_drillrun_change", args=[drill.pk]))
    assert "same message twice" in evidence.content.decode()
