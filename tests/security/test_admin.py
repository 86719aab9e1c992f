"""The admin: records are read only, staff actions are few, permitted and audited."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from security import grants, services
from security.models import (
    AuditEntry,
    Block,
    DrillRun,
    RoomGrant,
    ServiceAccount,
    Session,
    User,
    Violation,
)
from security.sessions import RequestMeta, open_session
from security.throttle import attempts
from security.violations import Incident

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW = AT.timestamp()
pytestmark = pytest.mark.django_db
RECORDS = ["violation", "auditentry"]


@pytest.fixture(autouse=True)
def incidents(monkeypatch: Any) -> list[Incident]:
    reported: list[Incident] = []
    monkeypatch.setattr("security.violations.report", reported.append)
    attempts().clear()
    return reported


@pytest.fixture(autouse=True)
def entries(monkeypatch: Any) -> list[tuple[str, str]]:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "security.audit.append",
        lambda action, **facts: written.append((action, facts["target"])),
    )
    return written


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="correct horse")


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def viewer() -> Client:
    """Staff who may only look."""
    user = User.objects.create_user("viewer", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client


def record(user_id: int | None = None, **changes: Any) -> Violation:
    facts = {
        "at": AT, "first_at": AT, "last_at": AT, "kind": "replay_detected", "severity": "high",
        "code": "replay_detected", "principal": "user:1", "user_id": user_id, "count": 17,
        "writer": "w", "prev_hash": "", "hash": "h",
    }  # fmt: skip
    violation = Violation(**{**facts, **changes})
    violation.save()
    return violation


def act(client: Client, model: str, action: str, *chosen: Any, confirmed: str = "yes") -> Any:
    return client.post(
        reverse(f"admin:security_{model}_changelist"),
        {
            "action": action,
            "_selected_action": [each.pk for each in chosen],
            "confirmed": confirmed,
        },
        follow=True,
    )


# Records.


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


# Sessions and services.


def test_staff_end_a_session(root: Client, ada: User, entries: list[Any]) -> None:
    open_session(ada, RequestMeta(), NOW)
    session = Session.objects.get()
    act(root, "session", "end_chosen", session)
    assert Session.objects.get().revoked_because == "ended_by_staff"
    act(root, "session", "end_chosen", session)
    assert entries == [("staff_session_ended", f"session:{session.pk}")]


def test_staff_end_all_logins_of_a_person(root: Client, ada: User, entries: list[Any]) -> None:
    open_session(ada, RequestMeta(), NOW)
    act(root, "user", "end_all_logins", ada)
    assert User.objects.get(pk=ada.pk).token_version == 2
    assert Session.objects.get().revoked_at is not None
    assert entries == [("staff_logins_ended", f"user:{ada.pk}")]


def test_staff_switch_a_service(root: Client, entries: list[Any]) -> None:
    account = services.add("engine", "one").account
    act(root, "serviceaccount", "disable_chosen", account)
    assert not ServiceAccount.objects.get().enabled
    act(root, "serviceaccount", "enable_chosen", account)
    assert ServiceAccount.objects.get().enabled
    assert [action for action, _ in entries] == ["staff_service_disabled", "staff_service_enabled"]


def test_who_may_only_look_can_end_and_switch_nothing(
    viewer: Client, ada: User, entries: list[Any]
) -> None:
    open_session(ada, RequestMeta(), NOW)
    account = services.add("engine", "one").account
    act(viewer, "session", "end_chosen", Session.objects.get())
    act(viewer, "user", "end_all_logins", ada)
    act(viewer, "serviceaccount", "disable_chosen", account)
    assert Session.objects.get().revoked_at is None
    assert ServiceAccount.objects.get().enabled
    assert entries == []


def test_a_session_page_shows_no_digest(root: Client, ada: User) -> None:
    open_session(ada, RequestMeta(), NOW)
    session = Session.objects.get()
    page = root.get(reverse("admin:security_session_change", args=[session.pk])).content.decode()
    assert session.refresh_digest not in page
    assert root.post(
        reverse("admin:security_session_change", args=[session.pk]), {"kid": "x"}
    ).status_code == 403  # fmt: skip


# Asking first.


@pytest.mark.parametrize(
    ("model", "action"),
    [("session", "end_chosen"), ("user", "end_all_logins"), ("violation", "end_their_sessions")],
)
def test_nothing_is_done_before_it_is_confirmed(
    model: str, action: str, root: Client, ada: User, entries: list[Any]
) -> None:
    login = open_session(ada, RequestMeta(), NOW)
    rows: dict[str, Any] = {
        "session": Session.objects.get(),
        "user": ada,
        "violation": record(ada.pk, login_session=login.session_id),
    }
    page = act(root, model, action, rows[model], confirmed="").content.decode()
    assert "Yes, do it" in page
    assert "ada" in page
    assert Session.objects.get().revoked_at is None
    assert entries == []


def test_services_are_switched_only_when_confirmed(root: Client, entries: list[Any]) -> None:
    account = services.add("engine", "one").account
    assert "engine:one" in act(
        root, "serviceaccount", "disable_chosen", account, confirmed=""
    ).content.decode()  # fmt: skip
    assert ServiceAccount.objects.get().enabled
    act(root, "serviceaccount", "disable_chosen", account)
    act(root, "serviceaccount", "enable_chosen", account, confirmed="")
    assert not ServiceAccount.objects.get().enabled


# What staff do about a violation.


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


# People.


def test_a_password_changed_in_the_admin_ends_all_logins(
    root: Client, ada: User, entries: list[Any]
) -> None:
    open_session(ada, RequestMeta(), NOW)
    address = reverse("admin:auth_user_password_change", args=[ada.pk])
    new = {"password1": "another horse", "password2": "another horse", "usable_password": "true"}
    assert root.post(address, new).status_code == 302
    assert Session.objects.get().revoked_because == "password_changed"
    assert entries == [("staff_changed", f"user:{ada.pk}")]


def test_the_token_version_cannot_be_written(root: Client, ada: User) -> None:
    address = reverse("admin:security_user_change", args=[ada.pk])
    form = root.get(address).context["adminform"].form
    assert "token_version" not in form.fields
    assert "token_version" in root.get(address).content.decode()


# Logging in.


def log_in(name: str, password: str) -> Any:
    return Client().post(reverse("admin:login"), {"username": name, "password": password})


def test_staff_log_in_and_others_do_not(
    ada: User, incidents: list[Incident], entries: list[Any]
) -> None:
    assert log_in("ada", "correct horse").status_code == 200
    User.objects.update(is_staff=True)
    assert log_in("ada", "correct horse").status_code == 302
    assert log_in("ada", "wrong").status_code == 200
    assert [each.kind for each in incidents] == ["invalid_credentials"]
    assert entries == [("staff_logged_in", "")]


def test_the_admins_door_is_limited_like_the_apis(ada: User, incidents: list[Incident]) -> None:
    User.objects.update(is_staff=True)
    for _ in range(10):
        log_in("ada", "wrong")
    response = log_in("ada", "correct horse")
    assert response.status_code == 200
    assert "Too many failed attempts" in response.content.decode()
    assert incidents[-1].kind == "rate_limited"


def test_the_site_bears_the_hubs_name(root: Client) -> None:
    page = root.get(reverse("admin:index")).content.decode()
    assert "Interaction Hub" in page
    assert "Engines and agents" in page


# rooms of agents


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
