"""Who is connected is looked at again: whose right has ended shows."""

import dataclasses
from typing import Any

import pytest

from security import services, sessions
from security.models import Session, User
from tests.security.sessions.sessions_bench import NOW, claims_of, log_in, service_claims

pytestmark = pytest.mark.django_db


def test_all_who_are_connected_are_looked_up_by_a_query_for_each_kind(
    ada: User, django_assert_num_queries: Any
) -> None:
    people = {sessions.resolve(claims_of(log_in(ada)), now=NOW) for _ in range(3)}
    account = services.add("engine", "engine-1").account
    engine = sessions.resolve(service_claims(account), now=NOW)
    with django_assert_num_queries(2):
        assert sessions.lapsed(people, now=NOW) == frozenset()
    with django_assert_num_queries(3):
        assert sessions.lapsed({*people, engine}, now=NOW) == frozenset()
    with django_assert_num_queries(0):
        assert sessions.lapsed((), now=NOW) == frozenset()


def test_each_end_of_a_right_shows_in_the_look_at_who_is_connected(ada: User) -> None:
    ada.is_staff = True
    ada.save()
    logins = [log_in(ada), log_in(ada)]
    one, two = (sessions.resolve(claims_of(login), now=NOW) for login in logins)
    sessions.end_session(Session.objects.get(pk=one.session_id), "revoked", NOW)
    assert sessions.lapsed({one, two}, now=NOW) == {one}
    assert sessions.lapsed({two}, now=NOW + 1_209_600) == {two}
    User.objects.update(is_staff=False)
    assert sessions.lapsed({two}, now=NOW) == {two}
    User.objects.update(is_staff=True, is_active=False)
    assert sessions.lapsed({two}, now=NOW) == {two}
    User.objects.update(is_active=True, token_version=99)
    assert sessions.lapsed({two}, now=NOW) == {two}
    User.objects.update(token_version=two.version)
    assert sessions.lapsed({two}, now=NOW) == frozenset()
    Session.objects.filter(pk=two.session_id).delete()
    assert sessions.lapsed({two}, now=NOW) == {two}


def test_somebody_elses_session_is_nobodys_right(ada: User) -> None:
    mine = sessions.resolve(claims_of(log_in(ada)), now=NOW)
    stolen = dataclasses.replace(mine, subject="999")
    assert sessions.lapsed({mine, stolen}, now=NOW) == {stolen}


def test_a_rotated_or_disabled_service_shows_in_the_look_at_who_is_connected() -> None:
    engine = sessions.resolve(service_claims(services.add("engine", "e1").account), now=NOW)
    services.add("agent", "e1")
    services.disable("engine", "e1")
    assert sessions.lapsed({engine}, now=NOW) == {engine}
    services.enable("engine", "e1")
    assert sessions.lapsed({engine}, now=NOW) == frozenset()
    services.rotate("engine", "e1", NOW)
    assert sessions.lapsed({engine}, now=NOW) == {engine}
