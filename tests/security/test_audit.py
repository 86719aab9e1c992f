"""What was done is written down once, as far as HUB_AUDIT_ACTIONS asks for it."""

import dataclasses
import hashlib
from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings

from security import audit, conf, database, recorder
from security.detail import SecretInDetail
from security.models import AuditEntry
from security.recorder import moment

WAIT_S = 20.0
AT = 1_760_000_000_000

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[recorder.Recorder]:
    own = recorder.Recorder(capacity=5, group_s=3_600, rollup_s=3_600)
    monkeypatch.setattr(audit, "recorder", lambda: own)
    yield own
    assert own.close(WAIT_S)
    database.shutdown()


def entries(own: recorder.Recorder) -> list[AuditEntry]:
    assert own.flush(WAIT_S)
    return list(AuditEntry.objects.order_by("id"))


def test_an_entry_holds_its_facts_and_no_sid(own_recorder: recorder.Recorder) -> None:
    audit.append(
        "connect",
        principal="user:1",
        user_id=1,
        namespace="/",
        sid="a-sid",
        login_session="s1",
        ip="192.0.2.1",
        target="lobby\n",
        detail={"transport": "websocket"},
        now_ms=AT,
    )
    (entry,) = entries(own_recorder)
    assert (entry.action, entry.principal, entry.user_id) == ("connect", "user:1", 1)
    assert (entry.namespace, entry.login_session, entry.ip) == ("/", "s1", "192.0.2.1")
    assert entry.sid_hash == hashlib.sha256(b"a-sid").hexdigest()
    assert (entry.target, entry.detail) == ("lobby\\n", {"transport": "websocket"})
    assert entry.at == moment(AT)


def test_the_hubs_clock_is_used_when_no_time_is_given(
    own_recorder: recorder.Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit.clock, "now_ms", lambda: AT + 5)
    audit.append("connect")
    assert entries(own_recorder)[0].at == moment(AT + 5)


@pytest.mark.parametrize(
    ("scope", "audited"),
    [
        ("state", ["action.generate_world"]),
        ("all", ["action.generate_world", "action.click", "action.added_by_a_setting"]),
        ("none", []),
    ],
)
def test_actions_are_audited_as_the_setting_asks(
    scope: conf.AuditScope,
    audited: list[str],
    own_recorder: recorder.Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = dataclasses.replace(django_settings.HUB, audit_actions=scope)
    monkeypatch.setattr(audit, "hub", lambda: chosen)
    for action_type in ("generate_world", "click", "added_by_a_setting"):
        audit.append_action(action_type, principal="user:1")
    assert [entry.action for entry in entries(own_recorder)] == audited


def test_what_is_no_action_of_a_person_is_always_audited(
    own_recorder: recorder.Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = dataclasses.replace(django_settings.HUB, audit_actions="none")
    monkeypatch.setattr(audit, "hub", lambda: silent)
    audit.append("token_issued", principal="user:1")
    assert [entry.action for entry in entries(own_recorder)] == ["token_issued"]


def test_a_full_queue_counts_entries_instead_of_dropping_them(
    own_recorder: recorder.Recorder,
) -> None:
    for number in range(12):
        audit.append("connect", principal="user:1", now_ms=AT + number)
    *own, rollup = entries(own_recorder)
    assert len(own) == 5
    assert rollup.action == "connect"
    assert rollup.detail == {"rollup": True, "count": 7, "first_ms": AT + 5}
    assert rollup.at == moment(AT + 11)


def test_when_even_the_counts_are_too_many_they_become_one(
    own_recorder: recorder.Recorder,
) -> None:
    for number in range(20):
        audit.append("connect", principal=f"user:{number}", now_ms=AT)
    stored = entries(own_recorder)
    crowd = [entry for entry in stored if entry.action == "crowd"]
    assert [entry.detail["count"] for entry in crowd] == [10]
    assert len(stored) == 11


def test_a_detail_that_names_a_secret_is_our_fault(own_recorder: recorder.Recorder) -> None:
    with pytest.raises(SecretInDetail):
        audit.append("token_issued", detail={"token": "x"})
    assert entries(own_recorder) == []
