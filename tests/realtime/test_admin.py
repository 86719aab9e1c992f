"""The page of live connections: what staff see, may end, and leave in the audit."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from realtime import census
from realtime.admin import _ago
from realtime.census import Connection, Listing
from security.models import User

pytestmark = pytest.mark.django_db

ADA = Connection(
    process="n_near",
    key="k" * 24,
    principal="user:7",
    name="<b>ada</b>",
    namespaces=("/",),
    rooms=("garden", "lobby"),
    ip="192.0.2.1",
    transport="websocket",
    since_ms=1_000,
    heard_ms=2_000,
    received=12,
    sent=34,
)
NOBODY = Connection(
    process="n_near",
    key="0" * 24,
    principal="",
    name="",
    namespaces=(),
    rooms=(),
    ip="",
    transport="polling",
    since_ms=1_000,
    heard_ms=0,
    received=0,
    sent=1,
)
PAGE = "admin:realtime_connection_changelist"


class Census:
    """Stands in for the processes."""

    def __init__(self) -> None:
        self.listing = Listing(connections=(ADA, NOBODY), total=2, processes=3, silent=1)
        self.searched: list[str] = []
        self.ended: list[tuple[str, str]] = []

    async def from_anywhere(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        return await call(self)

    async def connections(self, search: str, *, limit: int) -> Listing:
        self.searched.append(search)
        return self.listing

    async def connection(self, process: str, key: str) -> Connection | None:
        return ADA if (process, key) == (ADA.process, ADA.key) else None

    async def disconnect(self, process: str, key: str) -> bool:
        self.ended.append((process, key))
        return True


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Census:
    made = Census()
    monkeypatch.setattr(census, "current", lambda: made)
    return made


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    written: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "security.audit.append", lambda action, **facts: written.append((action, facts))
    )
    return written


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client() -> Client:
    return staff("view_connection", "disconnect_connection")


def disconnect(key: str = ADA.key) -> str:
    return reverse("admin:realtime_connection_disconnect", args=[ADA.process, key])


def test_the_page_shows_who_is_connected_and_who_did_not_answer(
    client: Client, processes: Census
) -> None:
    page = client.get(reverse(PAGE), {"q": "garden"}).content.decode()
    assert processes.searched == ["garden"]
    assert "&lt;b&gt;ada&lt;/b&gt;" in page
    assert reverse("admin:security_user_change", args=[7]) in page
    for shown in ("garden, lobby", "192.0.2.1", "n_near", "nobody yet", "websocket", "12", "34"):
        assert shown in page
    assert "2 connections at 3 processes" in page
    assert "1 process did not answer" in page
    assert disconnect() in page


def test_where_nobody_has_connected_the_page_says_so(client: Client) -> None:
    page = client.get(reverse(PAGE)).content.decode()
    assert "Nobody has connected to this process yet" in page


def test_an_empty_hub_and_an_empty_search_are_told_apart(client: Client, processes: Census) -> None:
    processes.listing = Listing(connections=(), total=0, processes=1, silent=0)
    assert "Nobody is connected." in client.get(reverse(PAGE)).content.decode()
    assert "who is connected matches" in client.get(reverse(PAGE), {"q": "x"}).content.decode()


def test_a_connection_is_ended_after_a_question_and_audited(
    client: Client, processes: Census, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    asked = client.get(disconnect())
    assert "&lt;b&gt;ada&lt;/b&gt; at 192.0.2.1" in asked.content.decode()
    assert processes.ended == []
    done = client.post(disconnect(), {"confirmed": "disconnect"})
    assert done.url == reverse(PAGE)  # type: ignore[attr-defined]  # a redirect
    assert processes.ended == [(ADA.process, ADA.key)]
    ((action, facts),) = entries
    assert (action, facts["target"]) == ("staff_connection_ended", "user:7")
    assert facts["detail"]["process"] == ADA.process


def test_what_is_gone_already_is_said(
    client: Client, processes: Census, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    page = client.post(disconnect("1" * 24), {"confirmed": "disconnect"}, follow=True)
    assert "gone already" in page.content.decode()
    assert (processes.ended, entries) == ([], [])


@pytest.mark.usefixtures("processes")
def test_who_may_look_sees_no_button_and_ends_nothing() -> None:
    viewer = staff("view_connection")
    assert "hub-end" not in viewer.get(reverse(PAGE)).content.decode()
    assert viewer.post(disconnect(), {"confirmed": "disconnect"}).status_code == 403


def test_who_has_no_right_to_look_sees_nothing(processes: Census) -> None:
    nobody = staff()
    assert nobody.get(reverse(PAGE)).status_code == 403
    assert processes.searched == []


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (-5, "0 s"),
        (59_999, "59 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h 0 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_a_time_is_shown_in_its_two_largest_units(milliseconds: int, shown: str) -> None:
    assert _ago(milliseconds) == shown
