"""Bearer tokens and staff sessions on views, as other apps use them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from security import clock, services
from security.authentication import (
    AnyBearerAuthentication,
    BearerAuthentication,
    ServiceAuthentication,
    StaffSessionAuthentication,
)
from security.blocks import block
from security.models import ServiceAccount, User
from security.sessions import RequestMeta, end_sessions, open_session
from security.tokens import issue_for_service
from security.violations import Incident

pytestmark = pytest.mark.django_db


class Whoami(APIView):
    """Says who is asking."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"who": request.auth.label, "role": request.auth.role})

    post = get


class EngineOnly(Whoami):
    authentication_classes = (ServiceAuthentication,)


class Both(Whoami):
    authentication_classes = (AnyBearerAuthentication, StaffSessionAuthentication)


@pytest.fixture(autouse=True)
def incidents(monkeypatch: Any) -> list[Incident]:
    reported: list[Incident] = []
    monkeypatch.setattr("security.violations.report", reported.append)
    return reported


def now() -> float:
    return clock.now_ms() / 1000


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="x")


@pytest.fixture
def access(ada: User) -> str:
    return open_session(ada, RequestMeta(), now()).tokens.access


@pytest.fixture
def engine_access() -> str:
    return issue_for_service(services.add("engine", "engine-1").account, now()).text


def ask(view: type[APIView], header: str | None = None, **more: Any) -> Any:
    named = {"HTTP_AUTHORIZATION": header} if header is not None else {}
    request = RequestFactory().get("/api/who/", **named, **more)
    response = view.as_view()(request)
    return response.render() if hasattr(response, "render") else response


def assert_refused(response: Any, code: str = "auth_invalid") -> None:
    assert response.status_code == 401
    assert set(response.data) == {"code", "message"}
    assert response.data["code"] == code
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_the_default_is_a_persons_access_token(ada: User, access: str) -> None:
    assert BearerAuthentication in APIView.authentication_classes
    assert ask(Whoami, f"Bearer {access}").data == {"who": f"user:{ada.pk}", "role": "user"}


def test_the_scheme_is_written_in_any_case(access: str) -> None:
    assert ask(Whoami, f"bearer {access}").status_code == 200


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Token abc"])
def test_without_a_bearer_a_token_is_asked_for(header: str | None) -> None:
    assert_refused(ask(Whoami, header))


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", "Bearer é", "Bearer a.b.c"])
def test_a_bearer_that_is_no_token_is_invalid(header: str, incidents: list[Incident]) -> None:
    assert_refused(ask(Whoami, header))
    assert [each.kind for each in incidents] == ["auth_invalid"]


def test_a_token_with_blanks_around_it_is_invalid(access: str) -> None:
    assert_refused(ask(Whoami, f"Bearer  {access}"))
    assert_refused(ask(Whoami, f"Bearer {access} "))


def test_an_expired_token_says_so(ada: User) -> None:
    old = open_session(ada, RequestMeta(), now() - 301).tokens.access
    assert_refused(ask(Whoami, f"Bearer {old}"), "auth_expired")


def test_a_refresh_token_is_no_access_token(ada: User) -> None:
    refresh = open_session(ada, RequestMeta(), now()).tokens.refresh
    assert_refused(ask(Whoami, f"Bearer {refresh}"))


def test_an_ended_session_is_invalid_and_the_reason_is_for_staff_only(
    ada: User, access: str, incidents: list[Incident]
) -> None:
    end_sessions(ada, now())
    response = ask(Whoami, f"Bearer {access}")
    assert_refused(response)
    assert b"revoked" not in response.content
    assert incidents[-1].detail["reason"] == "session_revoked"


def test_people_and_engines_do_not_pass_each_others_doors(access: str, engine_access: str) -> None:
    assert_refused(ask(Whoami, f"Bearer {engine_access}"))
    assert_refused(ask(EngineOnly, f"Bearer {access}"))
    assert ask(EngineOnly, f"Bearer {engine_access}").data["who"] == "engine:engine-1"


def test_a_door_for_both_takes_both(access: str, engine_access: str) -> None:
    assert ask(Both, f"Bearer {access}").status_code == 200
    assert ask(Both, f"Bearer {engine_access}").data["role"] == "engine"


def test_an_agent_passes_no_door_of_engines() -> None:
    token = issue_for_service(services.add("agent", "one").account, now()).text
    assert_refused(ask(Both, f"Bearer {token}"))


def test_a_disabled_engine_is_refused(engine_access: str) -> None:
    ServiceAccount.objects.update(enabled=False)
    assert_refused(ask(EngineOnly, f"Bearer {engine_access}"))


# The admin's session.


def ask_with_cookie(user: User, method: str = "get") -> HttpResponse:
    client = Client()
    client.force_login(user)
    request = getattr(RequestFactory(), method)("/api/who/")
    request.user, request.session = user, client.session
    response = Both.as_view()(request)
    response.render()
    return response


def test_the_admin_session_of_staff_is_taken_for_reading(ada: User) -> None:
    ada.is_staff = True
    response: Any = ask_with_cookie(ada)
    assert response.data == {"who": f"user:{ada.pk}", "role": "staff"}


def test_a_session_of_somebody_else_is_not(ada: User) -> None:
    assert_refused(ask_with_cookie(ada))
    ada.is_staff, ada.is_active = True, False
    assert_refused(ask_with_cookie(ada))


def test_writing_with_a_cookie_needs_a_csrf_token(ada: User, incidents: list[Incident]) -> None:
    ada.is_staff = True
    response: Any = ask_with_cookie(ada, "post")
    assert (response.status_code, response.data["code"]) == (403, "forbidden")
    assert incidents[-1].kind == "forbidden"


def test_staff_who_are_blocked_are_not_let_in_by_their_cookie(ada: User) -> None:
    User.objects.update(is_staff=True)
    ada.refresh_from_db()
    request = RequestFactory().get("/")
    request.user, request.session = ada, Client().session
    view = Both.as_view()
    assert view(request).data == {"who": f"user:{ada.pk}", "role": "staff"}
    block(f"user:{ada.pk}", until=clock.moment(clock.now_ms()) + timedelta(hours=1), by="root")
    request = RequestFactory().get("/")
    request.user, request.session = ada, Client().session
    refused = view(request)
    assert (refused.status_code, json.loads(refused.render().content)["code"]) == (429, "PENALTY")
